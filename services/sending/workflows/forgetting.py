"""Contacts who are erased, or have another address: what enrollments know of either."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession

_FORGET = text("""
    UPDATE enrollments SET email_digest = NULL
    WHERE contact_id = ANY(CAST(:contact_ids AS uuid[])) AND email_digest IS NOT NULL
    RETURNING id
""")
_FOLLOW = text("""
    UPDATE enrollments SET email_digest = :digest
    WHERE contact_id = :contact_id AND ended_at IS NULL AND email_digest IS NOT NULL RETURNING id
""")


async def forget_addresses(session: TenantSession, contact_ids: Sequence[UUID]) -> list[UUID]:
    """Forget the addresses of these contacts for good; answers of which enrollments that was."""
    return list((await session.execute(_FORGET, {"contact_ids": list(contact_ids)})).scalars())


async def follow_to_address(session: TenantSession, contact_id: UUID, digest: bytes) -> list[UUID]:
    """Let what is under way go to another address; answers which enrollments that is."""
    given = {"contact_id": contact_id, "digest": digest}
    return list((await session.execute(_FOLLOW, given)).scalars())
