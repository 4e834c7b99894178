"""Dates: contacts come into a workflow when clocks show its time on a day that one of their fields holds, or on its anniversaries.

A row of each such workflow says until when it was looked; whoever looks takes the time from then on, a day of it at most, and moves the
row once all have come in whose moment lies within. What was missed while nobody looked is made up for.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.sending.sending_policy import policy_of
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.clock_times import days_within
from services.sending.workflows.documents import Version
from services.sending.workflows.enrolling import Enrollee, Source, enroll
from services.sending.workflows.people import Occasion, People
from services.sending.workflows.runner import Runner
from services.sending.workflows.versions import read_versions

_EVERY = timedelta(seconds=10)
_ONE_DAY = timedelta(days=1)
_SIZE = 500
# Nobody has the same occasion twice, not even by moving to another zone between the two.
_ONE_OCCASION = timedelta(days=2)

# For the scheduler's role.
_TO_LOOK_AT = text("""
    SELECT occasions.organization_id, occasions.workflow_id AS id
    FROM sending.workflow_occasions AS occasions
    JOIN sending.workflows AS workflow
      ON workflow.organization_id = occasions.organization_id AND workflow.id = occasions.workflow_id
    WHERE workflow.status = 'active' AND occasions.looked_until < now()
    ORDER BY occasions.looked_until LIMIT 256
""")
_HELD = text("""
    SELECT occasions.looked_until, workflow.version FROM workflow_occasions AS occasions
    JOIN workflows AS workflow ON workflow.id = occasions.workflow_id
    WHERE occasions.workflow_id = :workflow_id AND workflow.status = 'active'
    FOR UPDATE OF occasions FOR KEY SHARE OF workflow
""")
_LOOKED = text("UPDATE workflow_occasions SET looked_until = :until WHERE workflow_id = :workflow_id")
_HAD_IT = text("""
    SELECT contact_id FROM enrollments
    WHERE workflow_id = :workflow_id AND contact_id = ANY(CAST(:contact_ids AS uuid[]))
      AND source = 'date' AND began_at > :since
""")


@dataclass(frozen=True, slots=True)
class _Look:
    """A stretch of time of one workflow, which is looked through by this version."""

    workflow_id: UUID
    version: Version
    after: datetime
    until: datetime
    days: Mapping[date, frozenset[str]]


class Occasions:
    """Lets contacts in whose date has come, in any organization."""

    def __init__(
        self,
        database: Database,
        scheduler: RoleDatabase,
        people: People,
        advancing: Advancing,
        runner: Runner,
    ) -> None:
        self._database = database
        self._people = people
        self._advancing = advancing
        self._runner = runner
        self._scheduler = Scheduler(scheduler, _TO_LOOK_AT, _EVERY, self.look, process="workflows")

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def look(self, context: RequestContext, workflow_id: UUID) -> None:
        """Let those in whose moment has come since it was looked last."""
        # Time goes on meanwhile: up to what it is then there would be something to look through without end.
        now = self._advancing.moment
        while look := await self._begin(context, workflow_id, now):
            if look.days:
                await self._go_through(context, look)
            async with self._database.tenant_transaction(context) as session:
                if await _is_current(session, look):
                    await session.execute(_LOOKED, {"workflow_id": workflow_id, "until": look.until})
            self._runner.wake(context.organization, workflow_id)

    async def _begin(self, context: RequestContext, workflow_id: UUID, now: datetime) -> _Look | None:
        """What is to be looked through next; None where that is done."""
        async with self._database.tenant_transaction(context) as session:
            held = (await session.execute(_HELD, {"workflow_id": workflow_id})).one_or_none()
            if held is None or held.looked_until >= now:
                return None
            numbered = (workflow_id, held.version)
            version = (await read_versions(session, [numbered]))[numbered]
            policy = await policy_of(session)
        after, until = held.looked_until, min(now, held.looked_until + _ONE_DAY)
        days = days_within(version.document.trigger.date_field, policy.zone, after, until)
        return _Look(workflow_id, version, after, until, days)

    async def _go_through(self, context: RequestContext, look: _Look) -> None:
        found = self._people.occasions(context, look.version.document.trigger.date_field, look.days, _SIZE)
        async with aclosing(found):
            async for page in found:
                async with self._database.tenant_transaction(context) as session:
                    if not await _is_current(session, look):
                        return
                    await self._let_in(session, look, page)

    async def _let_in(self, session: TenantSession, look: _Look, page: Sequence[Occasion]) -> None:
        people = [Enrollee(each.contact_id, each.email_digest) for each in page]
        given = {
            "workflow_id": look.workflow_id,
            "contact_ids": [person.contact_id for person in people],
            "since": look.after - _ONE_OCCASION,
        }
        # Whoever died half-way through has let some of them in.
        had_it = set((await session.execute(_HAD_IT, given)).scalars())
        await enroll(
            session,
            look.workflow_id,
            look.version,
            [person for person in people if person.contact_id not in had_it],
            source=Source.DATE,
            moment=self._advancing.moment,
        )


async def _is_current(session: TenantSession, look: _Look) -> bool:
    """Whether nobody else has looked, or given the workflow another version; nobody does until the transaction ends."""
    held = (await session.execute(_HELD, {"workflow_id": look.workflow_id})).one_or_none()
    return held is not None and (held.looked_until, held.version) == (look.after, look.version.number)
