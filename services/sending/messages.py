"""Messages: one mail to one person, written alone or made by a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, case, func, select

from chassis.database import TenantSession
from chassis.errors import NotFound
from services.sending.statuses import MessageStatus
from services.sending.tables import campaigns, message_contents, message_events, messages

# What the outside need not tell apart.
_SHOWN_STATUS = case(
    (messages.c.status == MessageStatus.SENDING.value, MessageStatus.APPROVED.value),
    else_=messages.c.status,
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
    row = (await session.execute(_select_messages().where(messages.c.id == message_id))).mappings().first()
    if row is None:
        raise NotFound(f"message as {message_id}")
    happenings = await session.execute(
        select(message_events.c.status, message_events.c.detail, message_events.c.occurred_at)
        .where(message_events.c.message_id == message_id)
        .order_by(message_events.c.occurred_at, message_events.c.id)
    )
    queued = Happening(MessageStatus.QUEUED.value, "", row["created_at"])
    return Message(**row, happenings=[queued, *(Happening(**event) for event in happenings.mappings())])


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
        wanted = wanted.where(messages.c.status.in_(_stored_as(status)))
    return [Message(**row) for row in (await session.execute(wanted)).mappings()]


def _stored_as(status: MessageStatus) -> list[str]:
    if status is MessageStatus.APPROVED:
        return [MessageStatus.APPROVED.value, MessageStatus.SENDING.value]
    return [status.value]


def _select_messages() -> Select[tuple[object, ...]]:
    return (
        select(
            messages.c.id,
            messages.c.campaign_id,
            messages.c.contact_id,
            messages.c.email,
            func.coalesce(message_contents.c.from_email, campaigns.c.from_email).label("from_email"),
            func.coalesce(message_contents.c.subject, campaigns.c.subject).label("subject"),
            messages.c.category,
            _SHOWN_STATUS.label("status"),
            messages.c.veto_reason,
            messages.c.smtp_reply,
            messages.c.created_at,
            messages.c.settled_at,
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
    )
