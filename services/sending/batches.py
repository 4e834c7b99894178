"""Batches: what one event orders. At most some hundred messages of a campaign, or one single message."""

from uuid import UUID

from sqlalchemy import insert

from chassis.database import TenantSession
from flownurture.sending.v1.events_pb2 import SendsRequested
from services.sending.statuses import BatchStatus
from services.sending.tables import batches


async def request_batch(
    session: TenantSession, batch_id: UUID, *, campaign_id: UUID | None = None, size: int
) -> None:
    """Make a batch and order the suppression process to decide on it."""
    await session.execute(
        insert(batches).values(id=batch_id, campaign_id=campaign_id, status=BatchStatus.REQUESTED.value)
    )
    session.publish(SendsRequested(batch_id=str(batch_id), message_count=size))
