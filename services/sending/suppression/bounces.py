"""Hard bounces: delivery puts the address on the list itself; here the rest of the platform hears of it."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.database import TenantSession
from services.sending.statuses import SuppressionReason
from services.sending.suppression.announcements import announce_suppressed
from services.sending.suppression_list import Suppressed
from services.sending.tables import suppressions


async def announce_bounces_of(session: TenantSession, message_ids: Collection[UUID]) -> None:
    """Tell of the addresses that these messages put on the list by bouncing."""
    found = await session.execute(
        select(suppressions.c.email_digest, suppressions.c.message_id).where(
            suppressions.c.reason == SuppressionReason.HARD_BOUNCE.value,
            suppressions.c.message_id
            == any_(literal(list(message_ids), ARRAY(suppressions.c.message_id.type))),
        )
    )
    announce_suppressed(
        session,
        [
            Suppressed(bytes(row.email_digest), SuppressionReason.HARD_BOUNCE, message_id=row.message_id)
            for row in found
        ],
    )
