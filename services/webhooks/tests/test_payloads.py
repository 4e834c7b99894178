"""What is told of facts: every item once, with ids that stay, in bodies that stay."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import orjson
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.contract.examples import example
from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1 import events_pb2 as contacts
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1 import messages_pb2
from flownurture.sending.v1.events_pb2 import CampaignsPaused, EmailsClicked, Engagement
from flownurture.suppression.v1.events_pb2 import SendsVetoed, VetoedMessage
from flownurture.workflows.v1.events_pb2 import CallEndpoints, EndpointCall
from services.webhooks.event_types import EVENT_TYPES
from services.webhooks.payloads import FACTS, Told, body_of, told_by

EVERY_FACT = [fact for facts in FACTS.values() for fact in facts]
STATUSES = [status for status in messages_pb2.MessageStatus.values() if status]


@dataclass(frozen=True)
class Stored:
    """An event as the log has it."""

    event_id: UUID
    event_type: str
    data: bytes
    sequence: int
    occurred_at: datetime


def example_of(fact: type[Message]) -> Message:
    descriptor: Any = fact.DESCRIPTOR
    return example(descriptor)


def stored(told: Told) -> Stored:
    return Stored(told.id, told.type, told.data, told.sequence, told.occurred_at)


def contact(
    status: contacts_pb2.ContactStatus.ValueType = contacts_pb2.CONTACT_STATUS_SUBSCRIBED,
) -> contacts_pb2.Contact:
    return contacts_pb2.Contact(id=str(new_id()), email="ada@example.com", status=status)


def outcome(status: messages_pb2.MessageStatus.ValueType) -> MessageOutcome:
    return MessageOutcome(
        message_id=str(new_id()),
        contact_id=str(new_id()),
        status=status,
        smtp_reply="550 no",
        occurred_at=Timestamp(seconds=1_790_000_000, nanos=5_000_000),
    )


def test_every_type_is_told_by_some_fact() -> None:
    settled = MessagesSettled(outcomes=[outcome(status) for status in STATUSES])
    facts: list[Message] = [example_of(fact) for fact in EVERY_FACT]
    orders = CallEndpoints(calls=[EndpointCall(effect_id=uuid4().bytes)])
    types = {told.type for fact in [*facts, settled, orders] for told in told_by(fact, new_id())}
    assert types == set(EVENT_TYPES)


@pytest.mark.parametrize("fact", EVERY_FACT, ids=lambda fact: str(fact.DESCRIPTOR.name))
def test_a_fact_told_again_gives_the_same_events(fact: type[Message]) -> None:
    event, event_id = example_of(fact), new_id()
    assert told_by(event, event_id) == told_by(event, event_id)


def test_another_fact_that_says_the_same_gives_other_ids() -> None:
    event = contacts.ContactsDeleted(contact_ids=[str(new_id()), str(new_id())])
    ids = {told.id for event_id in (new_id(), new_id()) for told in told_by(event, event_id)}
    assert len(ids) == 4
    assert {each.version for each in ids} == {7}


def test_what_nothing_is_told_of_is_refused() -> None:
    with pytest.raises(LookupError):
        told_by(CampaignsPaused(), new_id())


def test_those_created_as_subscribed_have_subscribed() -> None:
    subscribed = contact()
    left = contact(contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED)
    told = told_by(contacts.ContactsCreated(contacts=[subscribed, left]), new_id())
    assert [(each.type, str(each.contact_id)) for each in told] == [
        ("contact.created", subscribed.id),
        ("contact.subscribed", subscribed.id),
        ("contact.created", left.id),
    ]


def test_an_update_tells_what_changed_and_one_of_an_older_process_tells_nothing_of_it() -> None:
    people = [contact(), contact()]
    changed = [contacts.ChangedFields(names=["email"]), contacts.ChangedFields()]
    with_names = told_by(contacts.ContactsUpdated(contacts=people, changed=changed), new_id())
    without = told_by(contacts.ContactsUpdated(contacts=people), new_id())
    names = [orjson.loads(told.data)["changed_fields"] for told in with_names + without]
    assert names == [["email"], [], [], []]


def test_an_erasure_tells_the_id_and_no_digest_of_the_address() -> None:
    erased = str(new_id())
    fact = contacts.ContactsDeleted(contact_ids=[erased], email_digests=[b"x" * 32])
    (told,) = told_by(fact, new_id())
    assert orjson.loads(told.data) == {"contact_id": erased}
    assert told.contact_id == UUID(erased)


def test_outcomes_are_told_when_they_came_about_and_none_of_those_that_are_no_answer() -> None:
    told = told_by(
        MessagesSettled(outcomes=[outcome(status) for status in STATUSES]),
        new_id(),
    )
    assert [each.type for each in told] == ["email.sent", "email.delivered", "email.bounced"]
    assert {each.occurred_at for each in told} == {datetime.fromtimestamp(1_790_000_000.005, UTC)}
    assert orjson.loads(told[2].data)["smtp_reply"] == "550 no"


def test_a_veto_says_why() -> None:
    vetoed = VetoedMessage(
        message_id=str(new_id()),
        contact_id=str(new_id()),
        reason=messages_pb2.SUPPRESSION_REASON_FREQUENCY_CAP,
    )
    (told,) = told_by(SendsVetoed(messages=[vetoed]), new_id())
    assert orjson.loads(told.data)["reason"] == "frequency_cap"


def test_a_click_says_where_the_link_leads_and_a_workflow_is_empty_where_there_is_none() -> None:
    click = Engagement(message_id=str(new_id()), contact_id=str(new_id()), url="https://example.com/?a=1&b=ü")
    (told,) = told_by(EmailsClicked(engagements=[click]), new_id())
    data = orjson.loads(told.data)
    assert (data["url"], data["workflow_id"]) == (click.url, "")


def test_calls_keep_their_order_and_their_ids_when_they_are_ordered_again() -> None:
    effects = [uuid5(new_id(), "step") for _ in range(3)]
    calls = [EndpointCall(effect_id=effect.bytes, endpoint_id=str(new_id())) for effect in effects]
    first = told_by(CallEndpoints(calls=calls), new_id())
    again = told_by(CallEndpoints(calls=calls[1:]), new_id())
    assert [told.id for told in first] == effects
    assert [told.id for told in again] == effects[1:]


def test_what_happened_later_has_a_greater_sequence_within_a_fact_and_between_facts() -> None:
    fact = contacts.ContactsDeleted(contact_ids=[str(new_id()) for _ in range(500)])
    sequences: list[int] = []
    for milliseconds in (1_790_000_000_000, 1_790_000_000_001):
        sequences += [told.sequence for told in told_by(fact, UUID(int=milliseconds << 80 | 7 << 76))]
    assert sequences == sorted(set(sequences))
    # Exact in the numbers of JavaScript, too.
    assert sequences[-1] < 2**53


def test_a_body_is_json_around_the_data_as_it_was_stored_and_stays() -> None:
    (told,) = told_by(contacts.ContactsUnsubscribed(contacts=[contact()]), new_id())
    organization = uuid4()
    body = body_of(stored(told), organization, "2026-11-28")
    assert body == body_of(stored(told), organization, "2026-11-28")
    assert told.data in body
    assert orjson.loads(body) == {
        "id": str(told.id),
        "type": "contact.unsubscribed",
        "api_version": "2026-11-28",
        "timestamp": told.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sequence": told.sequence,
        "organization_id": str(organization),
        "data": orjson.loads(told.data),
    }


def test_a_body_tells_the_time_in_utc_whatever_zone_it_was_stored_in() -> None:
    moment = datetime.fromisoformat("2026-11-28T12:00:00.250+02:00")
    event = Stored(uuid4(), "contact.deleted", b"{}", 1, moment)
    assert orjson.loads(body_of(event, uuid4(), "2026-11-28"))["timestamp"] == "2026-11-28T10:00:00.250Z"
