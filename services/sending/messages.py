"""Messages: one mail to one person, written alone or made by a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, func, select

from chassis.database import TenantSession
from chassis.errors import NotFound
from services.sending.statuses import MessageStatus
from services.sending.subject_tests import FIRST
from services.sending.tables import (
    batches,
    campaigns,
    message_contents,
    message_events,
    messages,
    workflow_mails,
)

# A batch is approved as a whole.
_IS_APPROVED = and_(messages.c.status == MessageStatus.QUEUED.value, batches.c.decided_at.is_not(None))
_SHOWN_STATUS = case((_IS_APPROVED, MessageStatus.APPROVED.value), else_=messages.c.status)

# Which of its campaign's subjects a message has, or is to have; the first is the campaign's own.
_VARIANT = func.coalesce(messages.c.variant, campaigns.c.winner, FIRST)
_TRIED_SUBJECT = case(
    (
        _VARIANT > FIRST,
        func.jsonb_extract_path_text(
            campaigns.c.subject_test, "other_subjects", cast(_VARIANT - FIRST - 1, Text)
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that became of a message."""

    status: str
    detail: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its organization sees it."""

    id: UUID
    campaign_id: UUID | None
    contact_id: UUID | None
    email: str
    from_email: str
    subject: str
    category: str
    status: str
    veto_reason: str | None
    smtp_reply: str
    created_at: datetime
    settled_at: datetime | None
    happenings: Sequence[Happening] = field(default=())


async def get_message(session: TenantSession, message_id: UUID) -> Message:
    """The message and what became of it, oldest first. Raises NotFound."""
    wanted = _select_messages().add_columns(batches.c.decided_at).where(messages.c.id == message_id)
    row = (await session.execute(wanted)).mappings().first()
    if row is None:
        raise NotFound(f"message as {message_id}")
    kept = await session.execute(
        select(message_events.c.status, message_events.c.detail, message_events.c.occurred_at)
        .where(message_events.c.message_id == message_id)
        .order_by(message_events.c.occurred_at, message_events.c.id)
    )
    message = Message(**{name: value for name, value in row.items() if name != "decided_at"})
    happenings = [Happening(MessageStatus.QUEUED, "", message.created_at)]
    if row["decided_at"] is not None and message.status != MessageStatus.VETOED:
        happenings.append(Happening(MessageStatus.APPROVED, "", row["decided_at"]))
    happenings += (Happening(**event) for event in kept.mappings())
    if message.settled_at is not None:
        detail = message.veto_reason or message.smtp_reply
        happenings.append(Happening(message.status, detail, message.settled_at))
    # What was in doubt and sent again was approved after that.
    return replace(message, happenings=sorted(happenings, key=lambda happening: happening.occurred_at))


async def page_messages(
    session: TenantSession,
    *,
    before: UUID | None,
    size: int,
    status: MessageStatus | None = None,
    campaign_id: UUID | None = None,
) -> list[Message]:
    """Up to `size` messages, newest first, that are older than `before`, without what became of them."""
    wanted = _select_messages().order_by(messages.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(messages.c.id < before)
    if campaign_id is not None:
        wanted = wanted.where(messages.c.campaign_id == campaign_id)
    if status is not None:
        wanted = wanted.where(_is(status))
    return [Message(**row) for row in (await session.execute(wanted)).mappings()]


def _is(status: MessageStatus) -> ColumnElement[bool]:
    if status is MessageStatus.APPROVED:
        return _IS_APPROVED
    stored = messages.c.status == status.value
    return and_(stored, batches.c.decided_at.is_(None)) if status is MessageStatus.QUEUED else stored


def _select_messages() -> Select[tuple[object, ...]]:
    return (
        select(
            messages.c.id,
            messages.c.campaign_id,
            messages.c.contact_id,
            messages.c.email,
            func.coalesce(
                message_contents.c.from_email, campaigns.c.from_email, workflow_mails.c.from_email
            ).label("from_email"),
            func.coalesce(
                message_contents.c.subject, _TRIED_SUBJECT, campaigns.c.subject, workflow_mails.c.subject
            ).label("subject"),
            messages.c.category,
            _SHOWN_STATUS.label("status"),
            messages.c.veto_reason,
            messages.c.smtp_reply,
            messages.c.created_at,
            messages.c.settled_at,
        )
        .join(
            batches,
            and_(
                batches.c.organization_id == messages.c.organization_id,
                batches.c.id == messages.c.batch_id,
            ),
        )
        .outerjoin(
            message_contents,
            and_(
                message_contents.c.organization_id == messages.c.organization_id,
                message_contents.c.message_id == messages.c.id,
            ),
        )
        .outerjoin(
            campaigns,
            and_(
                campaigns.c.organization_id == messages.c.organization_id,
                campaigns.c.id == messages.c.campaign_id,
            ),
        )
        .outerjoin(
            workflow_mails,
            and_(
                workflow_mails.c.organization_id == messages.c.organization_id,
                workflow_mails.c.id == messages.c.workflow_mail_id,
            ),
        )
    )
