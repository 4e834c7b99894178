"""A message's way through all stages, as the rows tell it that there are: nothing of what it says, and not to whom.

Decisions and what recipients did are kept as long as the plan says. Of what is older, the message's own rows tell the rest.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.database import TenantSession
from chassis.errors import NotFound
from services.sending.bounces import Kind
from services.sending.statuses import BatchStatus, MessageStatus
from services.sending.suppression.decisions.log import Gate

_MOST_ENGAGEMENTS = 100


class Stage(StrEnum):
    """Where a message can come to; of what happened at one moment, the first of these comes first."""

    ACCEPTED = "accepted"
    GATHERED = "gathered"
    QUEUED_AGAIN = "queued_again"
    RELEASED = "released"
    APPROVED = "approved"
    VETOED = "vetoed"
    CLAIMED = "claimed"
    HANDED_OVER = "handed_over"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    CLASSIFIED = "classified"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"


_ORDER = {stage: place for place, stage in enumerate(Stage)}
_OUTCOMES = {
    MessageStatus.VETOED: Stage.VETOED,
    MessageStatus.SENT: Stage.HANDED_OVER,
    MessageStatus.DELIVERED: Stage.HANDED_OVER,
    MessageStatus.DEFERRED: Stage.DEFERRED,
    MessageStatus.BOUNCED: Stage.BOUNCED,
    MessageStatus.FAILED: Stage.FAILED,
    MessageStatus.INDETERMINATE: Stage.IN_DOUBT,
}

_MESSAGE = text("""
    SELECT id, batch_id, email, campaign_id, workflow_mail_id, category, status, veto_reason, attempts, next_attempt_at, smtp_reply,
           created_at, settled_at
    FROM messages WHERE id = :message_id
""")
# Ids stand in `allowed` as 16 bytes each. Of days on which there was no such message, or on which it was over, nothing is read.
_DECISIONS = text("""
    SELECT decided_at, gate, batch_id, list_version, reasons[array_position(denied, CAST(:message_id AS uuid))] AS reason
    FROM decisions
    WHERE day BETWEEN (CAST(:since AS timestamptz) AT TIME ZONE 'UTC')::date
                  AND (coalesce(CAST(:until AS timestamptz), now()) AT TIME ZONE 'UTC')::date
      AND (position(uuid_send(CAST(:message_id AS uuid)) IN allowed) % 16 = 1 OR CAST(:message_id AS uuid) = ANY(denied))
    ORDER BY decided_at, id
""")
_BATCHES = text("""
    SELECT id, campaign_id, status, created_at, decided_at FROM batches
    WHERE id = ANY(CAST(:batch_ids AS uuid[])) ORDER BY created_at, id
""")
_KEPT = text("SELECT status, detail, occurred_at FROM message_events WHERE message_id = :message_id")
_FINDINGS = text("""
    SELECT kind, enhanced_status, rule, source, reporter, occurred_at FROM feedback_findings WHERE message_id = :message_id
""")
# Of events that are forgotten the first of each kind and link is still there, and of the others it is the same.
_ENGAGEMENTS = text("""
    SELECT kind, link_number, bot_rule, occurred_at FROM engagement_events
    WHERE message_id = :message_id AND kind IN ('opened', 'clicked')
    UNION
    SELECT kind, link_number, '', occurred_at FROM first_engagements
    WHERE message_id = :message_id AND (kind = 'opened' OR link_number > 0)
    ORDER BY occurred_at LIMIT :most
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stage that a message came to."""

    at: datetime
    stage: Stage
    detail: str = ""
    # Else no row keeps when it was: at the earliest then.
    is_timed: bool = True

    @property
    def place(self) -> tuple[datetime, int]:
        """Where it stands among the others."""
        return self.at, _ORDER[self.stage]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a message is, and how it came there."""

    message_id: UUID
    campaign_id: UUID | None
    workflow_mail_id: UUID | None
    category: str
    # As it is shown to its organization.
    status: str
    attempts: int
    next_attempt_at: datetime | None
    entries: Sequence[Entry]


async def trace_of(session: TenantSession, message_id: UUID) -> Trace:
    """The way of a message until now. Raises NotFound."""
    message = (await session.execute(_MESSAGE, {"message_id": message_id})).one_or_none()
    if message is None:
        raise NotFound(f"message as {message_id}")
    decisions = await _rows(
        session, _DECISIONS, message_id=message_id, since=message.created_at, until=message.settled_at
    )
    batch_ids = {message.batch_id, *(decision.batch_id for decision in decisions)}
    batches = await _rows(session, _BATCHES, batch_ids=list(batch_ids))
    entries = [
        _beginning(message),
        *_ways_of_batches(batches),
        *_judgements(message, batches, decisions),
        *_outcomes(message, await _rows(session, _KEPT, message_id=message_id), decisions),
        *map(_finding, await _rows(session, _FINDINGS, message_id=message_id)),
        *map(_engagement, await _rows(session, _ENGAGEMENTS, message_id=message_id, most=_MOST_ENGAGEMENTS)),
    ]
    is_approved = (
        message.status == MessageStatus.QUEUED and _batch_of(message, batches).decided_at is not None
    )
    return Trace(
        message_id,
        message.campaign_id,
        message.workflow_mail_id,
        message.category,
        MessageStatus.APPROVED if is_approved else message.status,
        message.attempts,
        message.next_attempt_at,
        sorted(entries, key=lambda entry: entry.place),
    )


async def _rows(session: TenantSession, statement: Any, **parameters: Any) -> Sequence[Row[Any]]:
    return (await session.execute(statement, parameters)).all()


def _batch_of(message: Row[Any], batches: Collection[Row[Any]]) -> Row[Any]:
    return next(batch for batch in batches if batch.id == message.batch_id)


def _beginning(message: Row[Any]) -> Entry:
    if message.campaign_id is not None:
        return Entry(message.created_at, Stage.GATHERED, f"by campaign {message.campaign_id}")
    if message.workflow_mail_id is not None:
        return Entry(message.created_at, Stage.GATHERED, f"by workflow mail {message.workflow_mail_id}")
    return Entry(message.created_at, Stage.ACCEPTED)


def _ways_of_batches(batches: Sequence[Row[Any]]) -> Iterator[Entry]:
    """A message comes into another batch when it is sent again."""
    for number, batch in enumerate(batches):
        if number > 0:
            yield Entry(batch.created_at, Stage.QUEUED_AGAIN)
        if batch.decided_at is not None or batch.status in (BatchStatus.REQUESTED, BatchStatus.APPROVED):
            # A campaign's wait for their turn, and no row keeps when that was.
            yield Entry(batch.created_at, Stage.RELEASED, is_timed=batch.campaign_id is None)


def _judgements(
    message: Row[Any], batches: Collection[Row[Any]], decisions: Collection[Row[Any]]
) -> Iterator[Entry]:
    """What the veto and the claim decided."""
    for decision in decisions:
        by = f"by version {decision.list_version} of the list"
        if decision.reason is not None:
            when = ", as it was claimed" if decision.gate == Gate.CLAIM else ""
            yield Entry(decision.decided_at, Stage.VETOED, f"{decision.reason}, {by}{when}")
        else:
            stage = Stage.CLAIMED if decision.gate == Gate.CLAIM else Stage.APPROVED
            yield Entry(decision.decided_at, stage, by)
    decided = {decision.batch_id for decision in decisions if decision.gate == Gate.VETO}
    batch = _batch_of(message, batches)
    if batch.id not in decided and batch.decided_at is not None and message.status != MessageStatus.VETOED:
        yield Entry(batch.decided_at, Stage.APPROVED)


def _outcomes(
    message: Row[Any], kept: Collection[Row[Any]], decisions: Collection[Row[Any]]
) -> Iterator[Entry]:
    """What became of it: what was, and what its own row says last."""
    for event in kept:
        detail = _without(message.email, event.detail)
        yield Entry(event.occurred_at, _OUTCOMES[MessageStatus(event.status)], detail)
    # Who decided has said that it does not go, and why; who erases, or cancels a campaign, decides nothing.
    was_denied = any(decision.reason is not None for decision in decisions)
    if message.settled_at is not None and not (message.status == MessageStatus.VETOED and was_denied):
        detail = message.veto_reason or _without(message.email, message.smtp_reply)
        yield Entry(message.settled_at, _OUTCOMES[MessageStatus(message.status)], detail)


def _without(email: str, reply: str) -> str:
    """What a relay said, which likes to repeat to whom the mail was."""
    return re.sub(re.escape(email), "…", reply, flags=re.IGNORECASE) if email else reply


def _finding(finding: Row[Any]) -> Entry:
    told = [
        finding.kind,
        f"rule {finding.rule}" if finding.rule else "no rule",
        *([finding.enhanced_status] if finding.enhanced_status else []),
        f"told by {' of '.join(filter(None, (finding.source, finding.reporter)))}",
    ]
    stage = Stage.COMPLAINED if finding.kind == Kind.COMPLAINT else Stage.CLASSIFIED
    return Entry(finding.occurred_at, stage, ", ".join(told))


def _engagement(engagement: Row[Any]) -> Entry:
    told = [
        *([f"link {engagement.link_number}"] if engagement.link_number else []),
        *([f"by a program: {engagement.bot_rule}"] if engagement.bot_rule else []),
    ]
    return Entry(engagement.occurred_at, Stage(engagement.kind), ", ".join(told))
