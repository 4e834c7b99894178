"""The veto: which of a batch's messages may go.

One statement decides on the whole batch; whoever decides again finds nothing queued. Delivery looks at the list once
more when it claims a message, so that nobody who opts out in between gets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from flownurture.sending.v1.messages_pb2 import SuppressionReason as ReasonMessage
from flownurture.suppression.v1.events_pb2 import SendsApproved, SendsVetoed, VetoedMessage
from services.sending import usage
from services.sending.categories import STANDS_AGAINST
from services.sending.statuses import SuppressionReason

# Where several reasons hold, the first one here is told.
_ORDER = [reason.value for reason in SuppressionReason]

_DECIDE = text(f"""
    WITH verdicts AS (
        SELECT message.id, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.organization_id = message.organization_id
              AND suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(CAST(:order AS text[]), suppression.reason) LIMIT 1
        ) AS reason
        FROM messages AS message
        WHERE message.batch_id = :batch_id AND message.status = 'queued'
        FOR UPDATE OF message
    ), decided AS (
        UPDATE messages AS message
        SET status = CASE WHEN verdicts.reason IS NULL THEN 'approved' ELSE 'vetoed' END,
            veto_reason = verdicts.reason,
            settled_at = CASE WHEN verdicts.reason IS NULL THEN NULL ELSE now() END,
            merge_fields = CASE WHEN verdicts.reason IS NULL THEN message.merge_fields END
        FROM verdicts WHERE message.id = verdicts.id AND message.batch_id = :batch_id
        RETURNING message.id, message.contact_id, message.campaign_id, message.status, message.veto_reason
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail)
        SELECT id, status, coalesce(veto_reason, '') FROM decided
    )
    SELECT id, contact_id, campaign_id, veto_reason FROM decided
""")  # noqa: S608 - of our own words alone

_CLOSE_BATCH = text("""
    UPDATE batches SET due_at = now() + interval '60 seconds', status = CASE WHEN EXISTS (
        SELECT FROM messages WHERE messages.organization_id = batches.organization_id
          AND messages.batch_id = batches.id AND messages.status IN ('queued', 'approved', 'sending', 'deferred')
    ) THEN 'approved' ELSE 'settled' END
    WHERE id = :batch_id AND status = 'requested'
""")

# For the scheduler's role: batches whose order was lost on its way.
BATCHES_WITHOUT_DECISION = text("""
    SELECT organization_id, id FROM sending.batches
    WHERE status = 'requested' AND due_at <= now() ORDER BY due_at LIMIT 256
""")


@dataclass(frozen=True, slots=True)
class Veto:
    """A message that does not go, and why."""

    message_id: UUID
    contact_id: UUID | None
    reason: SuppressionReason


async def decide(session: TenantSession, batch_id: UUID) -> None:
    """Approve or veto what is queued of a batch, and let delivery and the campaign's reader know."""
    decided = await session.execute(_DECIDE, {"batch_id": batch_id, "order": _ORDER})
    rows = decided.all()
    await session.execute(_CLOSE_BATCH, {"batch_id": batch_id})
    vetoes = [
        Veto(row.id, row.contact_id, SuppressionReason(row.veto_reason)) for row in rows if row.veto_reason
    ]
    approved = len(rows) - len(vetoes)
    if approved:
        session.publish(SendsApproved(batch_id=str(batch_id), message_count=approved))
    await usage.give_back(session, batch_id, len(vetoes))
    if vetoes:
        announce_vetoes(session, rows[0].campaign_id, vetoes)


def announce_vetoes(session: TenantSession, campaign_id: UUID | None, vetoes: Sequence[Veto]) -> None:
    """Tell what does not go. The suppression process publishes it, whichever process vetoed."""
    session.publish(
        SendsVetoed(
            campaign_id=str(campaign_id or ""),
            messages=[
                VetoedMessage(
                    message_id=str(veto.message_id),
                    contact_id=str(veto.contact_id or ""),
                    reason=ReasonMessage.Value(f"SUPPRESSION_REASON_{veto.reason.name}"),
                )
                for veto in vetoes
            ],
        )
    )
