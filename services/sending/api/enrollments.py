"""EnrollmentService: decode, call the domain, encode."""

from collections.abc import Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DomainError, NotFound
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import enrollments_pb2 as pb
from services.sending.api.asked_first import AskedFirst
from services.sending.workflows import roster
from services.sending.workflows.enrolling import Enrollee
from services.sending.workflows.entry import bring_in
from services.sending.workflows.identification import Identification
from services.sending.workflows.leaving import take_out
from services.sending.workflows.moves import Choice, move
from services.sending.workflows.roster import EnrollmentStatus, KnownEnrollment, Wanted


class EnrollmentApi:
    """Who is, or was, in a workflow."""

    service = pb.DESCRIPTOR.services_by_name["EnrollmentService"]

    def __init__(self, database: Database, contacts: Identification) -> None:
        self._database = database
        self._contacts = contacts

    async def create_enrollment(
        self, request: pb.CreateEnrollmentRequest, context: RequestContext
    ) -> pb.Enrollment:
        """Let a contact in. NOT_FOUND, CONFLICT, FAILED_PRECONDITION with reason SUPPRESSED when no mail may go to them."""
        workflow_id, contact_id = parse_id(request.workflow_id), parse_id(request.contact_id)

        async def make(session: TenantSession, known: Sequence[Enrollee | None]) -> pb.Enrollment:
            (outcome,) = await _bring_in(session, workflow_id, [contact_id], known)
            if isinstance(outcome, DomainError):
                raise outcome
            return _as_message(await roster.get_enrollment(session, workflow_id, outcome))

        method = self.service.methods_by_name["CreateEnrollment"]
        asked = AskedFirst(self._database, context, method, request)
        return await asked.answer(lambda: self._contacts.identify(context, [contact_id]), make)

    async def batch_create_enrollments(
        self, request: pb.BatchCreateEnrollmentsRequest, context: RequestContext
    ) -> pb.BatchCreateEnrollmentsResponse:
        """Let contacts in, each for itself. NOT_FOUND for the workflow, CONFLICT when it is not active."""
        workflow_id, contact_ids = parse_id(request.workflow_id), list(map(parse_id, request.contact_ids))

        async def make(
            session: TenantSession, known: Sequence[Enrollee | None]
        ) -> pb.BatchCreateEnrollmentsResponse:
            outcomes = await _bring_in(session, workflow_id, contact_ids, known)
            entered = [outcome for outcome in outcomes if isinstance(outcome, UUID)]
            enrollments = await roster.get_enrollments(session, workflow_id, entered)
            return pb.BatchCreateEnrollmentsResponse(
                results=[
                    pb.CreateEnrollmentResult(enrollment=_as_message(enrollments[outcome]))
                    if isinstance(outcome, UUID)
                    else pb.CreateEnrollmentResult(error=_refusal(outcome))
                    for outcome in outcomes
                ]
            )

        method = self.service.methods_by_name["BatchCreateEnrollments"]
        asked = AskedFirst(self._database, context, method, request)
        return await asked.answer(lambda: self._contacts.identify(context, contact_ids), make)

    async def list_enrollments(
        self, request: pb.ListEnrollmentsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListEnrollmentsResponse:
        """Enrollments, newest first, without their traces, or NOT_FOUND."""
        size = page_size(request.page_size)
        found = await roster.page_enrollments(
            session,
            parse_id(request.workflow_id),
            Wanted(
                status=_status_filter(request.status),
                contact_id=parse_id(request.contact_id) if request.contact_id else None,
                step_id=request.step_id,
            ),
            before=decode_cursor(request.page_token),
            size=size + 1,
        )
        return pb.ListEnrollmentsResponse(
            enrollments=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def get_enrollment(
        self, request: pb.GetEnrollmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.Enrollment:
        """The enrollment with its trace, or NOT_FOUND."""
        return await _whole(session, parse_id(request.workflow_id), parse_id(request.enrollment_id))

    async def exit_enrollment(
        self, request: pb.ExitEnrollmentRequest, context: RequestContext, session: TenantSession
    ) -> pb.Enrollment:
        """Take the contact out, once however often it is asked, or NOT_FOUND."""
        workflow_id, enrollment_id = parse_id(request.workflow_id), parse_id(request.enrollment_id)
        await roster.get_enrollment(session, workflow_id, enrollment_id)
        await take_out(session, enrollment_id)
        return await _whole(session, workflow_id, enrollment_id)

    async def move_enrollments(
        self, request: pb.MoveEnrollmentsRequest, context: RequestContext
    ) -> pb.MoveEnrollmentsResponse:
        """Let them go on by another version. NOT_FOUND, or CONFLICT when nobody is under way."""
        choice = Choice(request.from_version or None, request.to_version or None, frozenset(request.step_ids))
        moved = await move(self._database, context, parse_id(request.workflow_id), choice)
        return pb.MoveEnrollmentsResponse(
            to_version=moved.to_version,
            moved=moved.enrollments,
            staying=[
                pb.StayingEnrollments(
                    version=each.at.version,
                    step_id=each.at.step_id,
                    enrollments=each.enrollments,
                    why=each.why,
                )
                for each in moved.staying
            ],
            more=moved.more,
        )


async def _bring_in(
    session: TenantSession,
    workflow_id: UUID,
    contact_ids: Sequence[UUID],
    known: Sequence[Enrollee | None],
) -> list[UUID | DomainError]:
    """The enrollment of each contact, or why there is none, in their order."""
    outcomes = iter(await bring_in(session, workflow_id, [who for who in known if who is not None]))
    return [
        NotFound(f"contact as {contact_id}") if who is None else next(outcomes)
        for contact_id, who in zip(contact_ids, known, strict=True)
    ]


async def _whole(session: TenantSession, workflow_id: UUID, enrollment_id: UUID) -> pb.Enrollment:
    message = _as_message(await roster.get_enrollment(session, workflow_id, enrollment_id))
    message.trace.extend(map(_line, await roster.trace_of(session, enrollment_id)))
    return message


def _as_message(enrollment: KnownEnrollment) -> pb.Enrollment:
    message = pb.Enrollment(
        id=str(enrollment.id),
        workflow_id=str(enrollment.workflow_id),
        contact_id=str(enrollment.contact_id),
        status=pb.ENROLLMENT_STATUS_ENDED if enrollment.ended_at else pb.ENROLLMENT_STATUS_UNDER_WAY,
        source=enrollment.source,
        cause=enrollment.cause,
        reason=enrollment.reason,
    )
    message.began_at.FromDatetime(enrollment.began_at)
    if enrollment.ended_at is not None:
        message.ended_at.FromDatetime(enrollment.ended_at)
    if (place := enrollment.place) is not None:
        message.place.version = place.version
        message.place.step_id = place.step_id
        message.place.waiting = place.waiting
        message.place.held = place.held
        message.place.since.FromDatetime(place.since)
        message.place.wake_at.FromDatetime(place.wake_at)
    return message


def _line(line: roster.Line) -> pb.EnrollmentTrace:
    message = pb.EnrollmentTrace(version=line.version, step_id=line.step_id, visit=line.visit, why=line.why)
    message.at.FromDatetime(line.at)
    return message


def _refusal(error: DomainError) -> pb.EnrollmentRefusal:
    return pb.EnrollmentRefusal(type=error.reason.lower().replace("_", "-"), detail=error.message)


def _status_filter(status: "pb.EnrollmentStatus.ValueType") -> EnrollmentStatus | None:
    if status == pb.ENROLLMENT_STATUS_UNSPECIFIED:
        return None
    return EnrollmentStatus[pb.EnrollmentStatus.Name(status).removeprefix("ENROLLMENT_STATUS_")]
