"""A workflow that runs under a clock that tests move, with contacts whom they see through."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.consumer import Consumer
from chassis.database import RoleDatabase
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.workflows.v1.events_pb2 import ChangeContacts
from services.sending.identity_peer import IdentityPeer
from services.sending.tests.neighbours import Neighbour, Neighbours
from services.sending.tests.tenant import Tenant
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.consumers import Happenings
from services.sending.workflows.documents import Version
from services.sending.workflows.enrolling import Outcome, Source, enroll
from services.sending.workflows.lifecycle import activate_workflow, create_workflow, get_workflow
from services.sending.workflows.runner import Runner

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass
class MovedClock:
    """Shows what tests say."""

    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment

    def move(self, **span: float) -> None:
        """Put it forward."""
        self.moment += timedelta(**span)


class RunnerOf(Runner):
    """Passes over all organizations but one: tests run side by side on one database, each with contacts and a clock of its own."""

    def __init__(self, organization_id: UUID, *wired: Any) -> None:
        super().__init__(*wired)
        self._organization_id = organization_id

    def wake(self, organization_id: UUID, workflow_id: UUID) -> None:
        """Begin with a workflow, if it is theirs."""
        if organization_id == self._organization_id:
            super().wake(organization_id, workflow_id)


@dataclass
class Workflows:
    """The workflows process of a test, less its loops: what is due is taken on when the test says so."""

    tenant: Tenant
    allowances: IdentityPeer
    scheduler: RoleDatabase
    neighbours: Neighbours = field(default_factory=Neighbours)
    clock: MovedClock = field(default_factory=MovedClock)

    def __post_init__(self) -> None:
        self.advancing = Advancing(self.tenant.database, self.neighbours, self.allowances, self.clock)
        self.runner = RunnerOf(self.tenant.context.organization, self.scheduler, self.advancing)
        happenings = Happenings(self.tenant.database, self.neighbours, self.advancing, self.runner)
        self.consumers: list[Consumer] = happenings.consumers(None)  # type: ignore[arg-type]

    async def start(self, document: pb.WorkflowDocument) -> UUID:
        """A workflow that is active."""
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            created = await create_workflow(session, "Welcome", document)
            await activate_workflow(session, created)
        return created.id

    async def enroll(self, workflow_id: UUID, *people: Neighbour) -> list[Outcome]:
        """Let people in, as contacts that there are."""
        self.neighbours.add(*people)
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            workflow = await get_workflow(session, workflow_id)
            return await enroll(
                session,
                workflow_id,
                Version(workflow.version, workflow.document),
                [person.enrollee for person in people],
                source=Source.API,
                moment=self.clock(),
            )

    async def hear(self, event: Any, event_id: UUID | None = None) -> UUID:
        """Let the process handle an event of another service, told at this moment."""
        heard = await self.tenant.hear(self.consumers, event, event_id, self.clock())
        await self.runner.settled()
        return heard

    async def advance(self, workflow_id: UUID, most: int = 500) -> int:
        """Take on whoever is due, and let contacts carry out what that orders, until nobody is due; answers how many claims that took."""
        taken = 0
        while number := await self.advancing.advance_due(self.tenant.context, workflow_id, most):
            taken += number
            await self.carry_out()
        return taken

    async def carry_out(self) -> None:
        """Let contacts carry out what was ordered of them."""
        for envelope in await self.envelopes():
            if envelope.type == ChangeContacts.DESCRIPTOR.full_name:
                self.neighbours.carry_out(UUID(envelope.id), ChangeContacts.FromString(envelope.payload))

    async def envelopes(self) -> list[Envelope]:
        """What was published so far, in its order."""
        rows = await self.tenant.rows("SELECT envelope FROM outbox ORDER BY id")
        return [Envelope.FromString(row.envelope) for row in rows]

    async def trace(self, person: Neighbour) -> Sequence[tuple[str, str]]:
        """The steps of a person's last enrollment, and why what followed did."""
        rows = await self.tenant.rows(
            """
            SELECT step_id, why FROM enrollment_trace WHERE enrollment_id = (
                SELECT id FROM enrollments WHERE contact_id = :contact ORDER BY id DESC LIMIT 1
            ) ORDER BY number
            """,
            contact=person.id,
        )
        return [(row.step_id, row.why) for row in rows]

    async def ends(self) -> dict[UUID, tuple[str, str]]:
        """Why those who are out left, by contact."""
        rows = await self.tenant.rows(
            "SELECT contact_id, cause, reason FROM enrollments WHERE ended_at IS NOT NULL"
        )
        return {row.contact_id: (row.cause, row.reason) for row in rows}
