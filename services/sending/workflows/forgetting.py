"""Contacts who are erased, or have another address: what enrollments know of either."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession

# Their places first, as whoever takes steps does, so that two cannot wait for each other in a circle.
_HOLD = text("""
    SELECT place.enrollment_id FROM enrollment_places AS place
    JOIN enrollments AS enrollment
      ON enrollment.organization_id = place.organization_id AND enrollment.id = place.enrollment_id
    WHERE enrollment.contact_id = ANY(CAST(:contact_ids AS uuid[])) AND enrollment.ended_at IS NULL
    ORDER BY place.enrollment_id FOR UPDATE OF place
""")
_FORGET = text("""
    UPDATE enrollments SET email_digest = NULL
    WHERE contact_id = ANY(CAST(:contact_ids AS uuid[])) AND email_digest IS NOT NULL
    RETURNING id
""")
_FOLLOW = text("""
    UPDATE enrollments SET email_digest = :digest
    WHERE contact_id = :contact_id AND ended_at IS NULL AND email_digest IS NOT NULL RETURNING id
""")


async def hold_contacts(session: TenantSession, contact_ids: Sequence[UUID]) -> bool:
    """Let nobody else move these contacts, or their addresses, until the transaction ends; False when none of them is under way."""
    held = await session.execute(_HOLD, {"contact_ids": list(contact_ids)})
    return bool(held.all())


async def forget_addresses(session: TenantSession, contact_ids: Sequence[UUID]) -> list[UUID]:
    """Forget the addresses of these contacts for good; answers of which enrollments that was."""
    return list((await session.execute(_FORGET, {"contact_ids": list(contact_ids)})).scalars())


async def follow_to_address(session: TenantSession, contact_id: UUID, digest: bytes) -> list[UUID]:
    """Let what is under way go to another address; answers which enrollments that is."""
    given = {"contact_id": contact_id, "digest": digest}
    return list((await session.execute(_FOLLOW, given)).scalars())
