"""What a report does to the message that it is about: the finding, the list, the message's status, and what others hear of it.

All of it in one transaction, and once: a report that comes again finds it done.
"""

from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Row, select, text

from chassis.database import TenantSession
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.messages_pb2 import MessageStatus as StatusMessage
from services.sending.bounces import Kind
from services.sending.feedback.understanding import Finding
from services.sending.findings import Noted, note_findings
from services.sending.statuses import MessageStatus
from services.sending.suppression.announcements import announce_suppressed
from services.sending.suppression_list import Suppressed, suppress
from services.sending.suppression_policy import REASONS, leading_to_suppression
from services.sending.tables import messages

# What was in doubt has arrived somewhere, since it came back.
_RETURN = text("""
    WITH before AS (
        SELECT id, status, smtp_reply, settled_at FROM messages
        WHERE id = :message_id AND status IN ('sent', 'delivered', 'indeterminate') FOR UPDATE
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail, occurred_at)
        SELECT id, status, smtp_reply, settled_at FROM before
    )
    UPDATE messages AS message
    SET status = 'bounced', smtp_reply = :diagnosis, settled_at = now(), merge_fields = NULL
    FROM before WHERE message.id = before.id
    RETURNING message.id, message.campaign_id, message.contact_id, message.smtp_reply, message.settled_at,
        before.status AS superseded_status, before.settled_at AS superseded_at
""")


async def take_effect(session: TenantSession, message_id: UUID, finding: Finding, report_id: UUID) -> bool:
    """Let a report have its effect on a message. False where that has to be done again, once the message is settled."""
    if not finding.counts:
        return True
    found = await session.execute(
        select(messages.c.email, messages.c.email_digest, messages.c.settled_at).where(
            messages.c.id == message_id
        )
    )
    message = found.one_or_none()
    if message is None:
        return True
    told = await _note(session, message_id, message, finding, report_id)
    returned = await _return(session, message_id, finding) if finding.returned else False
    if told is not None and not returned:
        # Of what is returned now, suppression tells when it hears of it, as of what is refused.
        announce_suppressed(session, [told])
    return message.settled_at is not None or not finding.returned


async def _note(
    session: TenantSession, message_id: UUID, message: Row[Any], finding: Finding, report_id: UUID
) -> Suppressed | None:
    """Keep the finding and put the address on the list; answers what is to be told of that."""
    if not message.email:
        # Its person was erased, and nobody knows the address any more.
        return None
    digest = bytes(message.email_digest)
    new = await note_findings(
        session,
        [
            Noted(
                message_id,
                digest,
                finding.kind,
                finding.enhanced_status,
                finding.rule,
                finding.shape,
                finding.reporter,
                report_id,
            )
        ],
    )
    if not await leading_to_suppression(session, new):
        return None
    entry = Suppressed(
        digest,
        REASONS[finding.kind],
        message.email,
        message_id=message_id,
        rule=finding.rule,
        source=finding.shape,
        report_id=report_id,
    )
    added = await suppress(session, [entry])
    # Each complaint is told, since each counts against the campaign that it came of.
    return entry if added or finding.kind is Kind.COMPLAINT else None


async def _return(session: TenantSession, message_id: UUID, finding: Finding) -> bool:
    returned = await session.execute(_RETURN, {"message_id": message_id, "diagnosis": finding.diagnosis})
    row = returned.one_or_none()
    if row is None:
        return False
    outcome = MessageOutcome(
        message_id=str(row.id),
        campaign_id=str(row.campaign_id or ""),
        contact_id=str(row.contact_id or ""),
        status=StatusMessage.MESSAGE_STATUS_BOUNCED,
        smtp_reply=row.smtp_reply,
        occurred_at=_timestamp(row.settled_at),
        superseded_status=StatusMessage.Value(f"MESSAGE_STATUS_{MessageStatus(row.superseded_status).name}"),
        superseded_at=_timestamp(row.superseded_at),
    )
    session.publish(MessagesSettled(outcomes=[outcome]))
    return True


def _timestamp(moment: Any) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
