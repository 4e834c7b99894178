"""The list of addresses that get no mail, where every process of the service meets it.

Who adds an address to the list holds its lock exclusively, and who claims messages holds those of their addresses, shared. So an
addition is either seen by a claim or waits for it: once it has committed, no message is claimed for its address. Claims of others' mail
keep nobody who opts out waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row

from chassis.database import TenantSession
from services.sending.message_figures import SUPPRESSIONS
from services.sending.statuses import SuppressionReason

# Of an address of the organization; another with the same 64 bits would only wait.
_LOCK = "hashbyteaextended({digest}, hashtextextended('suppressions:' || current_setting('app.organization_id'), 0))"
# All locks in one order, so that nobody waits for each other in a circle. Statements of their own: the next one sees what was
# committed before the locks were there.
_HOLD_ALONE = f"""
    SELECT count(pg_advisory_xact_lock(address)) FROM (
        SELECT DISTINCT {_LOCK.format(digest="digest")} AS address
        FROM unnest(%(digests)s::bytea[]) AS given (digest) ORDER BY address
    ) AS addresses
"""  # noqa: S608 - of our own words alone
# Lets nobody add the addresses of what is open in batches until the transaction ends; as the driver takes it.
HOLD_STILL = f"""
    SELECT count(pg_advisory_xact_lock_shared(address)) FROM (
        SELECT DISTINCT {_LOCK.format(digest="email_digest")} AS address FROM messages
        WHERE batch_id = ANY(%(batch_ids)s::uuid[]) AND status IN ('queued', 'deferred') ORDER BY address
    ) AS addresses
"""  # noqa: S608

# Ordered, so that two additions that share addresses cannot wait for each other in a circle.
_ADD = """
    INSERT INTO suppressions
        (email_digest, reason, email, note, message_id, rule, source, report_id, actor_kind, actor_id)
    SELECT
        digest, reason, coalesce(nullif(email, ''), (
            SELECT message.email FROM messages AS message
            WHERE message.id = given.message_id AND message.email_digest = given.digest
        ), ''), note, message_id, rule, source, report_id, %(actor_kind)s, %(actor_id)s
    FROM unnest(
        %(digests)s::bytea[], %(reasons)s::text[], %(emails)s::text[], %(notes)s::text[],
        %(message_ids)s::uuid[], %(rules)s::text[], %(sources)s::text[], %(report_ids)s::uuid[]
    ) AS given (digest, reason, email, note, message_id, rule, source, report_id)
    ORDER BY digest, reason
    ON CONFLICT (organization_id, email_digest, reason) DO UPDATE SET reaffirmed_at = clock_timestamp()
    RETURNING email_digest, reason, old.id IS NULL AS added
"""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An address, by its digest, and why it gets no mail."""

    digest: bytes
    reason: SuppressionReason
    # Where it is not told, it is that of the message, as long as there is one.
    email: str = ""
    note: str = ""
    message_id: UUID | None = None
    # By which rule of which source a bounce or a complaint was told, and in which report.
    rule: str = ""
    source: str = ""
    report_id: UUID | None = None


async def suppress(session: TenantSession, entries: Sequence[Suppressed]) -> list[Suppressed]:
    """Add to the list, each address once for a reason, as it is told first; answers those that were not on it so.

    In force for claims once committed.
    """
    entries = list({(entry.digest, entry.reason): entry for entry in reversed(entries)}.values())
    if not entries:
        return []
    given = {
        "digests": [entry.digest for entry in entries],
        "reasons": [entry.reason.value for entry in entries],
        "emails": [entry.email for entry in entries],
        "notes": [entry.note for entry in entries],
        "message_ids": [entry.message_id for entry in entries],
        "rules": [entry.rule for entry in entries],
        "sources": [entry.source for entry in entries],
        "report_ids": [entry.report_id for entry in entries],
        "actor_kind": session.context.actor_kind.name,
        "actor_id": session.context.actor_id,
    }
    added = session.driver.cursor(row_factory=namedtuple_row)
    # One after the other, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(_HOLD_ALONE, given)
        await added.execute(_ADD, given)
    rows: list[Any] = await added.fetchall()
    # Nearly always it commits; what is repeated counts again.
    for entry in entries:
        SUPPRESSIONS.labels(entry.reason.value).inc()
    new = {(bytes(row.email_digest), row.reason) for row in rows if row.added}
    return [entry for entry in entries if (entry.digest, entry.reason.value) in new]
