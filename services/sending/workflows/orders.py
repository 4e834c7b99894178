"""What steps do elsewhere: orders to other services, which go out with the commit that takes the step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from chassis.database import TenantSession
from flownurture.workflows.v1 import events_pb2
from services.sending.workflows.interpreter import Effect
from services.sending.workflows.journeys import Journey

# As many as the contract allows, and half the bytes that NATS takes in a message.
_MOST = 500
_MOST_BYTES = 500_000

_Order = TypeVar("_Order", events_pb2.ContactChange, events_pb2.MemberNotice, events_pb2.EndpointCall)


def order(session: TenantSession, journeys: Sequence[Journey]) -> Mapping[UUID, UUID]:
    """Let go out what journeys order; answers the events that order changes of contacts, by enrollment."""
    changing = [(journey, change) for journey in journeys if (change := journey.change) is not None]
    change_ids: dict[UUID, UUID] = {}
    done = 0
    for changes in _batches([_change(journey, effect) for journey, effect in changing]):
        event_id = session.publish(events_pb2.ChangeContacts(changes=changes))
        change_ids |= {journey.id: event_id for journey, _ in changing[done : done + len(changes)]}
        done += len(changes)
    for notices in _batches([_notice(effect) for _, effect in _of_kind(journeys, "notify_member")]):
        session.publish(events_pb2.NotifyMembers(notices=notices))
    for calls in _batches([_call(*each) for each in _of_kind(journeys, "call_webhook")]):
        session.publish(events_pb2.CallEndpoints(calls=calls))
    return change_ids


def _of_kind(journeys: Sequence[Journey], kind: str) -> Iterator[tuple[Journey, Effect]]:
    for journey in journeys:
        for effect in journey.effects:
            if effect.kind == kind:
                yield journey, effect


def _change(journey: Journey, effect: Effect) -> events_pb2.ContactChange:
    action = journey.program.version.step(effect.step_id)
    change = events_pb2.ContactChange(
        effect_id=effect.id.bytes,
        contact_id=journey.claimed.enrollment.contact_id.bytes,
        workflow_id=journey.claimed.workflow_id.bytes,
    )
    if journey.claimed.change_id is not None:
        change.after_change_id = journey.claimed.change_id.bytes
    match effect.kind:
        case "add_tag":
            change.add_tag_id = action.add_tag.tag_id
        case "remove_tag":
            change.remove_tag_id = action.remove_tag.tag_id
        case "add_to_list":
            change.add_to_list_id = action.add_to_list.list_id
        case "remove_from_list":
            change.remove_from_list_id = action.remove_from_list.list_id
        case _:
            change.set_field.CopyFrom(action.set_field)
    return change


def _notice(effect: Effect) -> events_pb2.MemberNotice:
    notice = events_pb2.MemberNotice(effect_id=effect.id.bytes)
    action = effect.action
    notice.user_id, notice.subject, notice.text = action.user_id, action.subject, action.text  # type: ignore[union-attr]
    return notice


def _call(journey: Journey, effect: Effect) -> events_pb2.EndpointCall:
    return events_pb2.EndpointCall(
        effect_id=effect.id.bytes,
        endpoint_id=effect.action.endpoint_id,  # type: ignore[union-attr]
        workflow_id=str(journey.claimed.workflow_id),
        enrollment_id=str(journey.id),
        step_id=effect.step_id,
        contact_id=str(journey.claimed.enrollment.contact_id),
    )


def _batches(orders: Sequence[_Order]) -> Iterator[list[_Order]]:
    batch: list[_Order] = []
    size = 0
    for each in orders:
        length = each.ByteSize()
        if batch and (len(batch) == _MOST or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch
