"""What is known of messages that did not arrive or were not wanted: a row for each, by which policies count."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending.bounces import Kind

# As what is heard while a message is handed over is told apart from what is reported afterwards.
BY_REPLY = "smtp"

# In one order, so that two of them cannot wait for each other in a circle.
_NOTE = text("""
    INSERT INTO feedback_findings
        (message_id, email_digest, kind, enhanced_status, rule, source, reporter, report_id)
    SELECT * FROM unnest(
        CAST(:message_ids AS uuid[]), CAST(:digests AS bytea[]), CAST(:kinds AS text[]), CAST(:enhanced AS text[]),
        CAST(:rules AS text[]), CAST(:sources AS text[]), CAST(:reporters AS text[]), CAST(:report_ids AS uuid[])
    ) AS given (message_id, digest, kind, enhanced, rule, source, reporter, report_id)
    ORDER BY message_id, kind
    ON CONFLICT (organization_id, message_id, kind) DO NOTHING
    RETURNING message_id, kind
""")


@dataclass(frozen=True, slots=True)
class Noted:
    """What a source says of a message: by which rule, and in which report, if it was one."""

    message_id: UUID
    digest: bytes
    kind: Kind
    enhanced_status: str
    rule: str
    source: str
    reporter: str = ""
    report_id: UUID | None = None


async def note_findings(session: TenantSession, findings: Sequence[Noted]) -> list[Noted]:
    """Keep what is new: one of a kind for each message, the first, whoever tells it again. Answers those."""
    findings = list({(finding.message_id, finding.kind): finding for finding in reversed(findings)}.values())
    if not findings:
        return []
    noted = await session.execute(
        _NOTE,
        {
            "message_ids": [finding.message_id for finding in findings],
            "digests": [finding.digest for finding in findings],
            "kinds": [finding.kind.value for finding in findings],
            "enhanced": [finding.enhanced_status for finding in findings],
            "rules": [finding.rule for finding in findings],
            "sources": [finding.source for finding in findings],
            "reporters": [finding.reporter for finding in findings],
            "report_ids": [finding.report_id for finding in findings],
        },
    )
    new = {(row.message_id, row.kind) for row in noted}
    return [finding for finding in findings if (finding.message_id, finding.kind.value) in new]
