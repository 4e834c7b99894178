"""CustomEventService: decode, call the domain, encode."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DomainError, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id, parse_id
from flownurture.sending.v1 import custom_events_pb2 as pb
from services.sending.api.addresses import address_of
from services.sending.api.asked_first import AskedFirst
from services.sending.api.moments import moment_of
from services.sending.workflows.custom_events import EARLY, OLDEST, CustomEvent, tell
from services.sending.workflows.enrolling import Enrollee
from services.sending.workflows.identification import Identification, Meant

_Outcome: TypeAlias = CustomEvent | DomainError


class CustomEventApi:
    """What clients tell of contacts."""

    service = pb.DESCRIPTOR.services_by_name["CustomEventService"]

    def __init__(self, database: Database, contacts: Identification) -> None:
        self._database = database
        self._contacts = contacts

    async def create_custom_event(
        self, request: pb.CreateCustomEventRequest, context: RequestContext
    ) -> pb.CreateCustomEventResponse:
        """Tell it on. NOT_FOUND for a contact that is not there, INVALID for a time that cannot be."""

        async def ask() -> _Outcome:
            (outcome,) = await self._read(context, [request])
            return outcome

        async def make(session: TenantSession, outcome: _Outcome) -> pb.CreateCustomEventResponse:
            if isinstance(outcome, DomainError):
                raise outcome
            tell(session, [outcome])
            return pb.CreateCustomEventResponse(event=_receipt(outcome))

        method = self.service.methods_by_name["CreateCustomEvent"]
        return await AskedFirst(self._database, context, method, request).answer(ask, make)

    async def batch_create_custom_events(
        self, request: pb.BatchCreateCustomEventsRequest, context: RequestContext
    ) -> pb.BatchCreateCustomEventsResponse:
        """Tell them on, each for itself."""

        async def make(
            session: TenantSession, outcomes: Sequence[_Outcome]
        ) -> pb.BatchCreateCustomEventsResponse:
            tell(session, [outcome for outcome in outcomes if isinstance(outcome, CustomEvent)])
            return pb.BatchCreateCustomEventsResponse(results=map(_result, outcomes))

        asked = AskedFirst(
            self._database, context, self.service.methods_by_name["BatchCreateCustomEvents"], request
        )
        return await asked.answer(lambda: self._read(context, request.events), make)

    async def _read(
        self, context: RequestContext, requests: Sequence[pb.CreateCustomEventRequest]
    ) -> list[_Outcome]:
        """What each tells, or why it cannot be."""
        now = datetime.now(UTC)
        read = [_read(request, now) for request in requests]
        good = [meant for meant in read if not isinstance(meant, InvalidRequest)]
        known = iter(await self._contacts.identify(context, [meant for meant, _ in good]) if good else [])
        return [
            each if isinstance(each, InvalidRequest) else _event(request, next(known), each[1])
            for request, each in zip(requests, read, strict=True)
        ]


def _read(request: pb.CreateCustomEventRequest, now: datetime) -> tuple[Meant, datetime] | InvalidRequest:
    try:
        return _meant(request), _moment(request, now)
    except InvalidRequest as refused:
        return refused


def _meant(request: pb.CreateCustomEventRequest) -> Meant:
    if bool(request.contact_id) == bool(request.email):
        raise InvalidRequest(FieldViolation("contact_id", "must be given, or email, and not both"))
    return parse_id(request.contact_id) if request.contact_id else address_of("email", request.email)


def _moment(request: pb.CreateCustomEventRequest, now: datetime) -> datetime:
    occurred_at = moment_of(request, "occurred_at") or now
    if not now - OLDEST <= occurred_at <= now + EARLY:
        raise InvalidRequest(
            FieldViolation("occurred_at", f"must be in the last {OLDEST.days} days, and not to come")
        )
    return occurred_at


def _event(request: pb.CreateCustomEventRequest, who: Enrollee | None, occurred_at: datetime) -> _Outcome:
    if who is None:
        return NotFound(f"contact as {request.contact_id or request.email}")
    return CustomEvent(new_id(), request.name, who.contact_id, occurred_at, request.properties)


def _receipt(event: CustomEvent) -> pb.CustomEventReceipt:
    receipt = pb.CustomEventReceipt(id=str(event.id), name=event.name, contact_id=str(event.contact_id))
    receipt.occurred_at.FromDatetime(event.occurred_at)
    return receipt


def _result(outcome: _Outcome) -> pb.CreateCustomEventResult:
    if isinstance(outcome, CustomEvent):
        return pb.CreateCustomEventResult(event=_receipt(outcome))
    if outcome.violations:
        wrong = outcome.violations[0]
        refusal = pb.CustomEventRefusal(detail=f"{wrong.field} {wrong.message}.", field=wrong.field)
    else:
        refusal = pb.CustomEventRefusal(detail=outcome.message)
    refusal.type = outcome.reason.lower().replace("_", "-")
    return pb.CreateCustomEventResult(error=refusal)
