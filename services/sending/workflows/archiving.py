"""Lets those leave who are in a workflow that was archived, in any organization: set after set, however many they are."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.scheduler import Scheduler
from services.sending.workflows.leaving import leave_archived

_EVERY = timedelta(seconds=5)
_SIZE = 500

# For the scheduler's role.
_WITH_SOMEBODY_LEFT = text("""
    SELECT organization_id, id FROM sending.workflows AS workflow
    WHERE status = 'archived' AND EXISTS (
        SELECT FROM sending.enrollment_places AS place
        WHERE place.organization_id = workflow.organization_id AND place.workflow_id = workflow.id
    )
    LIMIT 64
""")


class Archiving:
    """Looks for archived workflows in which somebody is left."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, _WITH_SOMEBODY_LEFT, _EVERY, self.let_leave, process="workflows"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def let_leave(self, context: RequestContext, workflow_id: UUID) -> None:
        """Let all leave who are in it."""
        left = _SIZE
        while left == _SIZE:
            async with self._database.tenant_transaction(context) as session:
                left = await leave_archived(session, workflow_id, _SIZE)
