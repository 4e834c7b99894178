"""Claiming: messages leave the table for the wire only here, and only if nobody has suppressed their addresses.

A batch is claimed as a whole, by one word in its row: it is leased, and all of it that is due with it. The statement that leases
looks at the list once more, while nobody can add any of its addresses. An unsubscribe that was acknowledged before is seen; one that comes later
waits until the claim has committed.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import text

from chassis import tracing
from chassis.database import TenantSession
from chassis.standstill import STANDS_STILL
from services.sending import usage
from services.sending.categories import STANDS_AGAINST, Category
from services.sending.quiet_hours import IS_QUIET
from services.sending.statuses import SuppressionReason
from services.sending.suppression.decisions.log import Gate, logging
from services.sending.suppression.veto import Veto, announce_vetoes
from services.sending.suppression_list import HOLD_STILL

_ORDER = [reason.value for reason in SuppressionReason]
_MESSAGE = """message.id, message.batch_id, message.campaign_id, message.contact_id, message.email,
              message.email_digest, message.category, message.attempts, message.merge_fields,
              message.variant, message.workflow_mail_id"""

# A statement of its own: once we have the batches, the next one sees what whoever had them before has written. In one order, so that
# two claims cannot wait for each other in a circle.
_HOLD = "SELECT FROM batches WHERE id = ANY(%(batch_ids)s::uuid[]) ORDER BY id FOR UPDATE"
_CLAIM = f"""
    WITH leased AS (
        UPDATE batches SET lease_token = %(token)s, leased_at = now()
        WHERE id = ANY(%(batch_ids)s::uuid[]) AND status = 'approved' AND lease_token IS NULL AND NOT EXISTS (
            SELECT FROM campaigns AS campaign
            WHERE campaign.organization_id = batches.organization_id AND campaign.id = batches.campaign_id
              AND campaign.status IN ('paused', 'cancelled')
        ) AND (campaign_id IS NULL OR NOT EXISTS (SELECT FROM sending_policies WHERE {IS_QUIET})) AND NOT {STANDS_STILL}
        RETURNING id, decided_at
    ), due AS MATERIALIZED (
        SELECT {_MESSAGE}, leased.decided_at, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.organization_id = message.organization_id
              AND suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
        ) AS reason
        FROM messages AS message JOIN leased ON message.batch_id = leased.id
        WHERE message.status = 'queued' OR message.status = 'deferred' AND message.next_attempt_at <= now()
    ), vetoed AS (
        UPDATE messages AS message
        SET status = 'vetoed', veto_reason = due.reason, next_attempt_at = NULL, settled_at = now(),
            merge_fields = NULL
        FROM due WHERE message.id = due.id AND due.reason IS NOT NULL
    ), {logging(Gate.CLAIM, "due")}
    SELECT leased.id AS leased_id, due.* FROM leased LEFT JOIN due ON due.batch_id = leased.id ORDER BY due.id
"""  # noqa: S608 - of our own words alone
_CLAIMED_BEFORE = text(f"""
    SELECT {_MESSAGE}, batches.decided_at FROM messages AS message JOIN batches ON batches.id = message.batch_id
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
    # What the templates of its campaign or workflow say of the contact.
    merge_fields: Mapping[str, object] | None = None
    # Which of its campaign's subjects is tried on it.
    variant: int | None = None
    workflow_mail_id: UUID | None = None
    approved_at: datetime | None = None
    # The traceparent that it came with.
    trace: str = ""

    @property
    def mailing_id(self) -> UUID | None:
        """The campaign, or the mail of a workflow, that it is of; None for a single message, which somebody waits for."""
        return self.campaign_id or self.workflow_mail_id


@dataclass(frozen=True, slots=True)
class Claim:
    """Batches that are ours until we give them back, and what of them is to be handed over."""

    batch_ids: Sequence[UUID]
    messages: Sequence[Claimed]
    # How many were vetoed in the last moment, by reason.
    vetoed: Counter[str]


async def claim(session: TenantSession, batch_ids: Collection[UUID], token: UUID) -> Claim:
    """Claim what is due of batches, vetoing those whose address was suppressed meanwhile.

    Nobody gets a batch that has another claim, of which nothing is approved, or whose campaign is paused or cancelled, or waits for
    quiet hours to be over, nor any of an organization that stands still. What was claimed is given back by closing its batch.
    """
    given = {"batch_ids": list(batch_ids), "token": token, "order": _ORDER}
    leased = session.driver.cursor(row_factory=namedtuple_row)
    # Statement after statement, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(HOLD_STILL, given)
        await session.driver.execute(_HOLD, given)
        await leased.execute(_CLAIM, given)
    rows: list[Any] = await leased.fetchall()
    due = [row for row in rows if row.id is not None]
    traces = {batch_id: tracing.trace_of(batch_id) for batch_id in batch_ids}
    await _tell_of_vetoes(session, [row for row in due if row.reason is not None])
    return Claim(
        list(dict.fromkeys(row.leased_id for row in rows)),
        [_claimed(row, token, traces[row.batch_id]) for row in due if row.reason is None],
        Counter(row.reason for row in due if row.reason is not None),
    )


async def _tell_of_vetoes(session: TenantSession, rows: Sequence[Any]) -> None:
    if not rows:
        return
    await usage.give_back_all(session, Counter(row.batch_id for row in rows))
    by_campaign: dict[UUID | None, list[Veto]] = defaultdict(list)
    for row in rows:
        veto = Veto(row.id, row.contact_id, SuppressionReason(row.reason))
        by_campaign[row.campaign_id].append(veto)
    for campaign_id, vetoes in by_campaign.items():
        announce_vetoes(session, campaign_id, vetoes)


async def claimed_before(
    session: TenantSession, batch_id: UUID, token: UUID, ids: Collection[UUID]
) -> Sequence[Claimed]:
    """Those of a batch's messages, as long as whoever claimed it with this token has not given it back."""
    found = await session.execute(_CLAIMED_BEFORE, {"batch_id": batch_id, "token": token, "ids": list(ids)})
    return [_claimed(row, token) for row in found]


def _claimed(row: Any, token: UUID, trace: str = "") -> Claimed:
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
        row.workflow_mail_id,
        row.decided_at,
        trace,
    )
