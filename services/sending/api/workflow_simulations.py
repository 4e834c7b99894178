"""WorkflowSimulationService: decode, call the domain, encode."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import new_id, parse_id
from flownurture.sending.v1 import workflow_simulations_pb2 as pb
from flownurture.sending.v1.workflows_pb2 import SendEmail
from services.sending.api.moments import moment_of
from services.sending.sending_policy import policy_of
from services.sending.workflows import lifecycle
from services.sending.workflows.clock_times import Clocks
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import Ended
from services.sending.workflows.events import Event, EventKind, subject_of
from services.sending.workflows.interpreter import Advance
from services.sending.workflows.people import People, Person
from services.sending.workflows.rehearsal import Subjects, know, said_to, subjects_of, suppression_of
from services.sending.workflows.simulation import Traveller, simulate, with_choices


class WorkflowSimulationApi:
    """What would happen to a contact in a workflow."""

    service = pb.DESCRIPTOR.services_by_name["WorkflowSimulationService"]

    def __init__(self, database: Database, people: People) -> None:
        self._database = database
        self._people = people

    async def simulate_workflow(
        self, request: pb.SimulateWorkflowRequest, context: RequestContext
    ) -> pb.WorkflowSimulation:
        """Walk a contact through. NOT_FOUND, INVALID for an event that is none and for a way that no step has."""
        workflow_id, contact_id = parse_id(request.workflow_id), parse_id(request.contact_id)
        enrollment_id, at = new_id(), moment_of(request, "at") or datetime.now(UTC)
        events = _events(request, contact_id, enrollment_id, at)
        async with self._database.tenant_transaction(context, read_only=True) as session:
            number = request.version or (await lifecycle.get_workflow(session, workflow_id)).version
            kept = await lifecycle.get_version(session, workflow_id, number)
            subjects = await subjects_of(session, kept.document)
            zone = (await policy_of(session)).zone
        document, chosen = with_choices(
            kept.document, {choice.step_id: choice.way for choice in request.choices}
        )
        known = await know(self._people, context, contact_id, document, subjects.values())
        async with self._database.tenant_transaction(context, read_only=True) as session:
            suppressed = await suppression_of(session, known.person.recipient.digest)
        clocks = Clocks(zone, known.person.zone)
        traveller = Traveller(contact_id, clocks, suppressed, {**known.answers, **chosen})
        walked = simulate(Version(number, document), traveller, at, events, enrollment_id)
        answer = pb.WorkflowSimulation(
            version=number, steps=[_step(step, known.person, subjects) for step in walked.steps]
        )
        if walked.end is not None:
            answer.end.CopyFrom(_end(walked.end))
        return answer


def _events(
    request: pb.SimulateWorkflowRequest, contact_id: UUID, enrollment_id: UUID, at: datetime
) -> list[Event]:
    """What is to happen. Raises InvalidRequest."""
    events = []
    for index, wanted in enumerate(request.events):
        kind = wanted.event.WhichOneof("event")
        if kind is None:
            raise InvalidRequest(FieldViolation(f"events[{index}].event", "must be one of what may happen"))
        after = timedelta(days=wanted.after.days, hours=wanted.after.hours, minutes=wanted.after.minutes)
        of = subject_of(getattr(wanted.event, kind))
        of_mail = kind in (EventKind.EMAIL_OPENED, EventKind.EMAIL_CLICKED)
        events.append(Event(EventKind(kind), contact_id, at + after, of, enrollment_id if of_mail else None))
    return events


def _step(step: Advance, person: Person, subjects: Subjects) -> pb.SimulatedStep:
    trace = step.trace
    if trace is None:
        raise TypeError("a step of a simulation is traced")
    message = pb.SimulatedStep(step_id=trace.step_id, why=trace.why)
    message.at.FromDatetime(trace.at)
    if step.effect is not None and isinstance(step.effect.action, SendEmail):
        mail = step.effect.action
        message.mail.from_email, message.mail.from_name = mail.from_email, mail.from_name
        if trace.step_id in subjects:
            message.mail.subject = said_to(person, subjects[trace.step_id])
    return message


def _end(end: Ended) -> pb.SimulatedEnd:
    message = pb.SimulatedEnd(cause=end.cause.value, reason=str(end.reason))
    message.at.FromDatetime(end.since)
    return message
