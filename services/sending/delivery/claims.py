"""Claiming: messages leave the table for the wire only here, and only if nobody has suppressed their addresses.

A batch is claimed as a whole, by one word in its row: it is leased, and all of it that is due with it. The statement that leases
looks at the list once more, while nobody can add to it. An unsubscribe that was acknowledged before is seen; one that comes later
waits until the claim has committed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.database import TenantSession
from services.sending import usage
from services.sending.categories import STANDS_AGAINST, Category
from services.sending.statuses import SuppressionReason
from services.sending.suppression.decisions.log import Gate, logging
from services.sending.suppression.veto import Veto, announce_vetoes
from services.sending.suppression_list import hold_still

_ORDER = [reason.value for reason in SuppressionReason]
_MESSAGE = """message.id, message.batch_id, message.campaign_id, message.contact_id, message.email,
              message.email_digest, message.category, message.attempts, message.merge_fields,
              message.variant"""

# A statement of its own: once we have the batch, the next one sees what whoever had it before has written.
_HOLD = text("SELECT FROM batches WHERE id = :batch_id FOR UPDATE")
_CLAIM = text(f"""
    WITH leased AS (
        UPDATE batches SET lease_token = :token, leased_at = now()
        WHERE id = :batch_id AND status = 'approved' AND lease_token IS NULL AND NOT EXISTS (
            SELECT FROM campaigns AS campaign
            WHERE campaign.organization_id = batches.organization_id AND campaign.id = batches.campaign_id
              AND campaign.status IN ('paused', 'cancelled')
        )
        RETURNING id
    ), due AS MATERIALIZED (
        SELECT {_MESSAGE}, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.organization_id = message.organization_id
              AND suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(CAST(:order AS text[]), suppression.reason) LIMIT 1
        ) AS reason
        FROM messages AS message JOIN leased ON message.batch_id = leased.id
        WHERE message.status = 'queued' OR message.status = 'deferred' AND message.next_attempt_at <= now()
    ), vetoed AS (
        UPDATE messages AS message
        SET status = 'vetoed', veto_reason = due.reason, next_attempt_at = NULL, settled_at = now(),
            merge_fields = NULL
        FROM due WHERE message.id = due.id AND due.reason IS NOT NULL
    ), {logging(Gate.CLAIM, "due")}
    SELECT due.* FROM leased LEFT JOIN due ON true ORDER BY due.id
""")  # noqa: S608 - of our own words alone
_CLAIMED_BEFORE = text(f"""
    SELECT {_MESSAGE} FROM messages AS message JOIN batches ON batches.id = message.batch_id
    WHERE message.batch_id = :batch_id AND message.id = ANY(:ids) AND batches.lease_token = :token
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to hand over, as long as the lease with this token lives."""

    id: UUID
    batch_id: UUID
    campaign_id: UUID | None
    contact_id: UUID | None
    email: str
    digest: bytes
    category: Category
    attempts: int
    token: UUID
    # What its campaign's templates say of the contact.
    merge_fields: Mapping[str, object] | None = None
    # Which of its campaign's subjects is tried on it.
    variant: int | None = None


async def claim(session: TenantSession, batch_id: UUID, token: UUID) -> Sequence[Claimed] | None:
    """Claim what is due of a batch, vetoing those whose address was suppressed meanwhile; None when nobody gets it.

    That is so when it has another claim, nothing is approved of it, or its campaign is paused or cancelled. What was claimed is
    given back by closing the batch.
    """
    await hold_still(session)
    await session.execute(_HOLD, {"batch_id": batch_id})
    leased = await session.execute(_CLAIM, {"batch_id": batch_id, "token": token, "order": _ORDER})
    rows = leased.all()
    if not rows:
        return None
    due = [row for row in rows if row.id is not None]
    vetoes = [
        Veto(row.id, row.contact_id, SuppressionReason(row.reason)) for row in due if row.reason is not None
    ]
    if vetoes:
        await usage.give_back(session, batch_id, len(vetoes))
        announce_vetoes(session, due[0].campaign_id, vetoes)
    return [_claimed(row, token) for row in due if row.reason is None]


async def claimed_before(
    session: TenantSession, batch_id: UUID, token: UUID, ids: Collection[UUID]
) -> Sequence[Claimed]:
    """Those of a batch's messages, as long as whoever claimed it with this token has not given it back."""
    found = await session.execute(_CLAIMED_BEFORE, {"batch_id": batch_id, "token": token, "ids": list(ids)})
    return [_claimed(row, token) for row in found]


def _claimed(row: Row[Any], token: UUID) -> Claimed:
    return Claimed(
        row.id,
        row.batch_id,
        row.campaign_id,
        row.contact_id,
        row.email,
        bytes(row.email_digest),
        Category(row.category),
        row.attempts,
        token,
        row.merge_fields,
        row.variant,
    )
