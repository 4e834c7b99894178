"""Which workflows begin with a date: each has a row that says until when it was looked whose date has come."""

from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.sending.v1 import workflows_pb2 as pb

_BEGIN = text("""
    INSERT INTO workflow_occasions (workflow_id, looked_until) VALUES (:workflow_id, now())
    ON CONFLICT (organization_id, workflow_id)
    DO UPDATE SET looked_until = CASE WHEN :anew THEN now() ELSE workflow_occasions.looked_until END
""")
_END = text("DELETE FROM workflow_occasions WHERE workflow_id = :workflow_id")


async def look_for_dates(
    session: TenantSession, workflow_id: UUID, document: pb.WorkflowDocument, *, anew: bool
) -> None:
    """Look from now on whose date has come, where a document begins with one; where it was looked before, from there on unless it is anew."""
    if document.trigger.HasField("date_field"):
        await session.execute(_BEGIN, {"workflow_id": workflow_id, "anew": anew})
    else:
        await look_no_more(session, workflow_id)


async def look_no_more(session: TenantSession, workflow_id: UUID) -> None:
    """Look no more."""
    await session.execute(_END, {"workflow_id": workflow_id})
