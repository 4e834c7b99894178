"""Claiming: a message leaves the table for the wire only here, and only if nobody has suppressed its address.

The claim looks at the list once more, in the statement that claims, while nobody can add to it. An unsubscribe that was
acknowledged before is seen; one that comes later waits until the claim has committed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending import usage
from services.sending.categories import STANDS_AGAINST
from services.sending.statuses import SuppressionReason
from services.sending.suppression.veto import Veto, announce_vetoes
from services.sending.suppression_list import hold_still

_ORDER = [reason.value for reason in SuppressionReason]

_CLAIM = text(f"""
    WITH candidates AS (
        SELECT message.id, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.organization_id = message.organization_id
              AND suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(CAST(:order AS text[]), suppression.reason) LIMIT 1
        ) AS reason
        FROM messages AS message
        WHERE message.batch_id = :batch_id AND message.status = 'approved' AND NOT EXISTS (
            SELECT FROM campaigns AS campaign
            WHERE campaign.organization_id = message.organization_id AND campaign.id = message.campaign_id
              AND campaign.status IN ('paused', 'cancelled')
        )
        ORDER BY message.id LIMIT :size FOR UPDATE OF message SKIP LOCKED
    ), decided AS (
        UPDATE messages AS message
        SET status = CASE WHEN reason IS NULL THEN 'sending' ELSE 'vetoed' END,
            lease_token = CASE WHEN reason IS NULL THEN CAST(:token AS uuid) END,
            veto_reason = reason,
            settled_at = CASE WHEN reason IS NULL THEN NULL ELSE now() END,
            merge_fields = CASE WHEN reason IS NULL THEN message.merge_fields END
        FROM candidates WHERE message.id = candidates.id AND message.batch_id = :batch_id
        RETURNING message.id, message.campaign_id, message.contact_id, message.email, message.email_digest,
                  message.attempts, message.veto_reason, message.merge_fields
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail)
        SELECT id, 'vetoed', veto_reason FROM decided WHERE veto_reason IS NOT NULL
    )
    SELECT * FROM decided ORDER BY id
""")  # noqa: S608 - of our own words alone
_RELEASE = text("""
    UPDATE messages SET status = 'approved', lease_token = NULL
    WHERE id = ANY(:ids) AND lease_token = :token AND status = 'sending'
""")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to hand over, as long as the lease with this token lives."""

    id: UUID
    campaign_id: UUID | None
    contact_id: UUID | None
    email: str
    digest: bytes
    attempts: int
    token: UUID
    # What its campaign's templates say of the contact.
    merge_fields: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a claim found: nothing at all when it is `empty`, and perhaps only what it vetoed."""

    claimed: Sequence[Claimed]
    empty: bool


async def claim(session: TenantSession, batch_id: UUID, token: UUID, size: int) -> Chunk:
    """Claim up to `size` approved messages of a batch, vetoing those whose address was suppressed meanwhile.

    A campaign that is paused or cancelled has none.
    """
    await hold_still(session)
    decided = await session.execute(
        _CLAIM, {"batch_id": batch_id, "token": token, "size": size, "order": _ORDER}
    )
    rows = decided.all()
    vetoed = [row for row in rows if row.veto_reason]
    await usage.give_back(session, batch_id, len(vetoed))
    for campaign_id, group in groupby(vetoed, key=lambda row: row.campaign_id):
        announce_vetoes(
            session,
            campaign_id,
            [Veto(row.id, row.contact_id, SuppressionReason(row.veto_reason)) for row in group],
        )
    claimed = [
        Claimed(
            row.id,
            row.campaign_id,
            row.contact_id,
            row.email,
            bytes(row.email_digest),
            row.attempts,
            token,
            row.merge_fields,
        )
        for row in rows
        if not row.veto_reason
    ]
    return Chunk(claimed, empty=not rows)


async def release(session: TenantSession, unbegun: Collection[Claimed]) -> None:
    """Give back what was claimed and not begun."""
    for token in {message.token for message in unbegun}:
        ids = [message.id for message in unbegun if message.token == token]
        await session.execute(_RELEASE, {"ids": ids, "token": token})
