"""What reports do to the messages that they are about: the findings, the list, the messages' statuses, and what others hear of it.

All of it in one transaction for all reports of a set, and once: a report that comes again finds it done.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Row, text

from chassis.database import TenantSession
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.events_pb2 import Complaint, EmailsComplained
from flownurture.sending.v1.messages_pb2 import MessageStatus as StatusMessage
from services.sending.bounces import Kind
from services.sending.feedback.understanding import Finding
from services.sending.findings import Noted, note_findings
from services.sending.statuses import MessageStatus, SuppressionReason
from services.sending.suppression.announcements import announce_suppressed
from services.sending.suppression_list import Suppressed, suppress
from services.sending.suppression_policy import REASONS, leading_to_suppression

_MOST_IN_AN_EVENT = 500

_FIND = text("""
    SELECT id, email, email_digest, campaign_id, contact_id, settled_at FROM messages WHERE id = ANY(CAST(:message_ids AS uuid[]))
""")
# What was in doubt has arrived somewhere, since it came back. In one order, so that two sets cannot wait for each other in a circle.
_RETURN = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:message_ids AS uuid[]), CAST(:diagnoses AS text[])) AS given (id, diagnosis)
    ), before AS (
        SELECT message.id, message.status, message.smtp_reply, message.settled_at, given.diagnosis
        FROM messages AS message JOIN given ON message.id = given.id
        WHERE message.status IN ('sent', 'delivered', 'indeterminate') ORDER BY message.id FOR UPDATE OF message
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail, occurred_at)
        SELECT id, status, smtp_reply, settled_at FROM before
    )
    UPDATE messages AS message
    SET status = 'bounced', smtp_reply = before.diagnosis, settled_at = now(), merge_fields = NULL
    FROM before WHERE message.id = before.id
    RETURNING message.id, message.campaign_id, message.contact_id, message.smtp_reply, message.settled_at,
        before.status AS superseded_status, before.settled_at AS superseded_at
""")


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of one message."""

    organization: UUID
    message_id: UUID
    finding: Finding
    report_id: UUID


async def take_effect(session: TenantSession, told: Sequence[Told]) -> list[Told]:
    """Let what was told of the organization's messages have its effect; answers what is to be done again, once its message is settled."""
    effective = [each for each in told if each.finding.has_effect]
    if not effective:
        return []
    found = await session.execute(_FIND, {"message_ids": [each.message_id for each in effective]})
    messages = {row.id: row for row in found}
    known = [each for each in effective if each.message_id in messages]
    returned = await _return(session, [each for each in known if each.finding.returned])
    await _note(session, messages, known, returned)
    return [each for each in known if each.finding.returned and messages[each.message_id].settled_at is None]


async def _note(
    session: TenantSession,
    messages: Mapping[UUID, Row[Any]],
    told: Sequence[Told],
    returned: Collection[UUID],
) -> None:
    """Keep the findings, put addresses on the list, and tell of that."""
    # Where a person was erased, nobody knows the address any more.
    addressed = [(each, messages[each.message_id]) for each in told if messages[each.message_id].email]
    findings = [
        _noted(each, bytes(message.email_digest)) for each, message in addressed if each.finding.counts
    ]
    new = await note_findings(session, findings)
    _tell_complaints(session, [messages[each.message_id] for each in new if each.kind is Kind.COMPLAINT])
    leading = await leading_to_suppression(session, new)
    entries = [_entry(finding, messages[finding.message_id].email) for finding in leading]
    # All in one, since the locks of addresses are taken in one order.
    entries += [_opt_out(each, message) for each, message in addressed if each.finding.opts_out]
    added = set(await suppress(session, entries))
    announce_suppressed(
        session,
        [
            entry
            for entry in entries
            # Each complaint is told, since each counts against the campaign that it came of.
            if entry.reason is SuppressionReason.COMPLAINT
            # Of what is returned now, suppression tells when it hears of it, as of what is refused.
            or (
                entry in added
                and (entry.reason is SuppressionReason.UNSUBSCRIBE or entry.message_id not in returned)
            )
        ],
    )


def _tell_complaints(session: TenantSession, complained: Sequence[Row[Any]]) -> None:
    """Tell of messages that nobody had called spam before."""
    now = Timestamp()
    now.GetCurrentTime()
    for start in range(0, len(complained), _MOST_IN_AN_EVENT):
        session.publish(
            EmailsComplained(
                complaints=[
                    Complaint(
                        message_id=str(message.id),
                        campaign_id=str(message.campaign_id or ""),
                        contact_id=str(message.contact_id or ""),
                        occurred_at=now,
                    )
                    for message in complained[start : start + _MOST_IN_AN_EVENT]
                ]
            )
        )


async def _return(session: TenantSession, told: Sequence[Told]) -> set[UUID]:
    """Messages that came back are bounced; answers those that were not yet."""
    diagnoses = {each.message_id: each.finding.diagnosis for each in reversed(told)}
    if not diagnoses:
        return set()
    given = {"message_ids": list(diagnoses), "diagnoses": list(diagnoses.values())}
    rows = (await session.execute(_RETURN, given)).all()
    if rows:
        session.publish(MessagesSettled(outcomes=map(_outcome, rows)))
    return {row.id for row in rows}


def _noted(told: Told, digest: bytes) -> Noted:
    finding = told.finding
    return Noted(
        told.message_id,
        digest,
        finding.kind,
        finding.enhanced_status,
        finding.rule,
        finding.shape,
        finding.reporter,
        told.report_id,
    )


def _entry(finding: Noted, email: str) -> Suppressed:
    return Suppressed(
        finding.digest,
        REASONS[finding.kind],
        email,
        message_id=finding.message_id,
        rule=finding.rule,
        source=finding.source,
        report_id=finding.report_id,
    )


def _opt_out(told: Told, message: Row[Any]) -> Suppressed:
    return Suppressed(
        bytes(message.email_digest),
        SuppressionReason.UNSUBSCRIBE,
        message.email,
        message_id=told.message_id,
        rule=told.finding.rule,
        source=told.finding.shape,
        report_id=told.report_id,
    )


def _outcome(row: Row[Any]) -> MessageOutcome:
    return MessageOutcome(
        message_id=str(row.id),
        campaign_id=str(row.campaign_id or ""),
        contact_id=str(row.contact_id or ""),
        status=StatusMessage.MESSAGE_STATUS_BOUNCED,
        smtp_reply=row.smtp_reply,
        occurred_at=_timestamp(row.settled_at),
        superseded_status=StatusMessage.Value(f"MESSAGE_STATUS_{MessageStatus(row.superseded_status).name}"),
        superseded_at=_timestamp(row.superseded_at),
    )


def _timestamp(moment: Any) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
