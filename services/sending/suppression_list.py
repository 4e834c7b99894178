"""The list of addresses that get no mail, where every process of the service meets it.

Who adds to the list and who claims messages take the same lock of the organization, one exclusively and one shared.
So an addition is either seen by a claim or waits for it: once it has committed, no message is claimed for its address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending.statuses import SuppressionReason

_LOCK_KEY = "hashtextextended('suppressions:' || current_setting('app.organization_id'), 0)"
_ADD_ALONE = text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
# Lets nobody add to the list until the transaction ends. A statement of its own, as the driver takes it: the next one sees all of it.
HOLD_STILL = f"SELECT pg_advisory_xact_lock_shared({_LOCK_KEY})"

# Ordered, so that two additions that share addresses cannot wait for each other in a circle.
_ADD = text("""
    INSERT INTO suppressions
        (email_digest, reason, email, note, message_id, rule, source, report_id, actor_kind, actor_id)
    SELECT DISTINCT ON (digest, reason)
        digest, reason, email, note, message_id, rule, source, report_id, :actor_kind, :actor_id
    FROM unnest(
        CAST(:digests AS bytea[]), CAST(:reasons AS text[]), CAST(:emails AS text[]), CAST(:notes AS text[]),
        CAST(:message_ids AS uuid[]), CAST(:rules AS text[]), CAST(:sources AS text[]), CAST(:report_ids AS uuid[])
    ) AS given (digest, reason, email, note, message_id, rule, source, report_id)
    ORDER BY digest, reason
    ON CONFLICT (organization_id, email_digest, reason) DO UPDATE SET reaffirmed_at = clock_timestamp()
    RETURNING email_digest, reason, old.id IS NULL AS added
""")


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An address, by its digest, and why it gets no mail."""

    digest: bytes
    reason: SuppressionReason
    email: str = ""
    note: str = ""
    message_id: UUID | None = None
    # By which rule of which source a bounce or a complaint was told, and in which report.
    rule: str = ""
    source: str = ""
    report_id: UUID | None = None


async def suppress(session: TenantSession, entries: Sequence[Suppressed]) -> list[Suppressed]:
    """Add to the list; answers those that were not on it for that reason. In force for claims once committed."""
    if not entries:
        return []
    await session.execute(_ADD_ALONE)
    added = await session.execute(
        _ADD,
        {
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
        },
    )
    new = {(bytes(row.email_digest), row.reason) for row in added if row.added}
    return [entry for entry in entries if (entry.digest, entry.reason.value) in new]
