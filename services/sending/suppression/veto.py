"""The veto: which of a batch's messages may go.

One statement decides on whole batches, by the list and by the frequency cap, writes to the rows of those alone who do not go, and logs
what it decided; whoever decides again finds them decided. Delivery looks at the list once
more when it claims a message, so that nobody who opts out in between gets it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import text

from chassis import tracing
from chassis.database import TenantSession
from chassis.soundings import MOST
from flownurture.sending.v1.messages_pb2 import SuppressionReason as ReasonMessage
from flownurture.suppression.v1.events_pb2 import MessagesApproved, SendsApproved, SendsVetoed, VetoedMessage
from services.sending import usage
from services.sending.categories import IS_CAPPED, STANDS_AGAINST
from services.sending.frequency_cap import CAP, HOLD_CAP, taken
from services.sending.statuses import SuppressionReason
from services.sending.suppression.decisions.log import Gate, logging

# Where several reasons hold, the first one here is told.
_ORDER = [reason.value for reason in SuppressionReason]

_DECIDE = f"""
    WITH batch AS (
        SELECT id, campaign_id FROM batches
        WHERE id = ANY(%(batch_ids)s::uuid[]) AND status = 'requested' ORDER BY id FOR UPDATE
    ), looked AS MATERIALIZED (
        SELECT message.id, message.batch_id, message.contact_id, message.workflow_mail_id, message.email_digest,
               message.category, (
            SELECT suppression.reason FROM suppressions AS suppression
            WHERE suppression.organization_id = message.organization_id
              AND suppression.email_digest = message.email_digest AND {STANDS_AGAINST}
            ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
        ) AS reason
        FROM messages AS message JOIN batch ON message.batch_id = batch.id
        WHERE message.status = 'queued'
    ), {CAP}, wanted AS (
        -- What has its place from when it was made comes first.
        SELECT message.id, message.email_digest, row_number() OVER (
            PARTITION BY message.email_digest ORDER BY place.message_id IS NULL, message.id
        ) AS number
        FROM looked AS message LEFT JOIN frequency_places AS place
          ON place.email_digest = message.email_digest AND place.message_id = message.id
        WHERE message.reason IS NULL AND {IS_CAPPED} AND EXISTS (SELECT FROM cap)
    ), beyond AS MATERIALIZED (
        SELECT wanted.id FROM wanted CROSS JOIN cap
        WHERE wanted.number + (SELECT count(*) FROM ({taken("now()", "SELECT id FROM looked")}) AS taken) > cap.messages
    ), placed AS (
        INSERT INTO frequency_places (email_digest, message_id)
        SELECT email_digest, id FROM wanted WHERE id NOT IN (SELECT id FROM beyond)
        ON CONFLICT DO NOTHING
    ), verdicts AS MATERIALIZED (
        SELECT looked.id, looked.batch_id, looked.contact_id, looked.workflow_mail_id,
               coalesce(looked.reason, CASE WHEN beyond.id IS NOT NULL THEN 'frequency_cap' END) AS reason
        FROM looked LEFT JOIN beyond ON beyond.id = looked.id
    ), vetoed AS (
        UPDATE messages AS message
        SET status = 'vetoed', veto_reason = verdicts.reason, settled_at = now(), merge_fields = NULL
        FROM verdicts
        WHERE message.id = verdicts.id AND message.status = 'queued' AND verdicts.reason IS NOT NULL
    ), counted AS MATERIALIZED (
        SELECT batch.id, batch.campaign_id, count(verdicts.id) FILTER (WHERE verdicts.reason IS NULL) AS approved,
            batch.campaign_id IS NULL AND NOT coalesce(bool_or(verdicts.workflow_mail_id IS NOT NULL), false) AS of_singles
        FROM batch LEFT JOIN verdicts ON verdicts.batch_id = batch.id GROUP BY batch.id, batch.campaign_id
    ), decided AS (
        UPDATE batches
        SET decided_at = now(), due_at = now() + interval '60 seconds', status = CASE
            WHEN counted.approved > 0 OR EXISTS (
                SELECT FROM messages AS message WHERE message.batch_id = counted.id AND message.status = 'deferred'
            ) THEN 'approved' ELSE 'settled' END
        FROM counted WHERE batches.id = counted.id
    ), {logging(Gate.VETO, "verdicts")}
    SELECT counted.id AS batch_id, counted.campaign_id, counted.approved, counted.of_singles, verdicts.id, verdicts.contact_id,
        verdicts.reason
    FROM counted LEFT JOIN verdicts ON verdicts.batch_id = counted.id AND verdicts.reason IS NOT NULL
    ORDER BY counted.id
"""  # noqa: S608 - of our own words alone

# For the scheduler's role: batches whose order was lost on its way.
BATCHES_WITHOUT_DECISION = text("""
    SELECT organization_id, id FROM sending.batches
    WHERE status = 'requested' AND due_at <= now() ORDER BY due_at LIMIT 256
""")


# And for how long they have waited for whoever looks after them, for soundings.
OVERDUE = text("""
    SELECT 'decision', count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)
    FROM (
        SELECT due_at FROM sending.batches WHERE status = 'requested' AND due_at <= now() ORDER BY due_at LIMIT :most
    ) AS overdue
""").bindparams(most=MOST)


@dataclass(frozen=True, slots=True)
class Veto:
    """A message that does not go, and why."""

    message_id: UUID
    contact_id: UUID | None
    reason: SuppressionReason


async def decide(session: TenantSession, *batch_ids: UUID) -> Counter[str]:
    """Approve or veto what is queued of batches, and let delivery and their campaigns' readers know.

    Answers how many were approved, and vetoed by reason.
    """
    decided = session.driver.cursor(row_factory=namedtuple_row)
    # One after the other, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(HOLD_CAP)
        await decided.execute(_DECIDE, {"batch_ids": list(batch_ids), "order": _ORDER})
    rows: list[Any] = await decided.fetchall()
    batches = {row.batch_id: row for row in rows}.values()
    for batch in batches:
        if batch.approved:
            approved = MessagesApproved if batch.of_singles else SendsApproved
            session.publish(
                approved(batch_id=str(batch.batch_id), message_count=batch.approved),
                trace=tracing.trace_of(batch.batch_id),
            )
    vetoed = [row for row in rows if row.id is not None]
    if vetoed:
        await usage.give_back_all(session, Counter(row.batch_id for row in vetoed))
    by_campaign: dict[UUID | None, list[Veto]] = defaultdict(list)
    for row in vetoed:
        veto = Veto(row.id, row.contact_id, SuppressionReason(row.reason))
        by_campaign[row.campaign_id].append(veto)
    for campaign_id, vetoes in by_campaign.items():
        announce_vetoes(session, campaign_id, vetoes)
    return Counter({"approved": sum(batch.approved for batch in batches)}) + Counter(
        row.reason for row in vetoed
    )


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
