"""Messages: one mail to one person, written alone or made by a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, case, exists, func, insert, select, text

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FailedPrecondition, NotFound
from chassis.identifiers import new_id
from services.sending import usage
from services.sending.batches import request_batch
from services.sending.bodies import Body
from services.sending.categories import PASSES_OVER, Category
from services.sending.statuses import MessageStatus, SuppressionReason
from services.sending.tables import campaigns, message_contents, message_events, messages, suppressions

# Of two deliveries of one order the second sees what the first has done.
_ONE_AFTER_ANOTHER = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('sending.message:' || :message_id, 0))"
)
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
    status: str
    veto_reason: str | None
    smtp_reply: str
    created_at: datetime
    settled_at: datetime | None
    happenings: Sequence[Happening] = field(default=())


@dataclass(frozen=True, slots=True)
class Letter:
    """What a single message says, and to whom."""

    to: EmailAddress
    from_email: str
    from_name: str
    subject: str
    body: Body
    category: Category = Category.ORDINARY


async def send_letter(session: TenantSession, letter: Letter) -> Message:
    """Queue a single message.

    Raises FailedPrecondition (SUPPRESSED) when its recipient must not get mail, EmailLimitReached.
    """
    message_id = new_id()
    await _queue(session, message_id, letter)
    return await get_message(session, message_id)


async def send_letter_once(session: TenantSession, message_id: UUID, letter: Letter) -> None:
    """Queue a single message under this id, unless there is one. Raises as `send_letter` does."""
    await session.execute(_ONE_AFTER_ANOTHER, {"message_id": str(message_id)})
    if not await session.scalar(select(exists().where(messages.c.id == message_id))):
        await _queue(session, message_id, letter)


async def _queue(session: TenantSession, message_id: UUID, letter: Letter) -> None:
    await _refuse_suppressed(session, letter)
    batch_id = new_id()
    # Who confirms a subscription is not written to yet.
    usage_cycle = None if letter.category is Category.CONFIRMATION else await usage.take_one(session)
    await request_batch(session, batch_id, size=1, usage_cycle=usage_cycle)
    await session.execute(
        insert(messages).values(
            id=message_id,
            batch_id=batch_id,
            email=letter.to.text,
            email_digest=letter.to.digest,
            category=letter.category.value,
        )
    )
    await session.execute(
        insert(message_contents).values(
            message_id=message_id,
            from_name=letter.from_name,
            from_email=letter.from_email,
            subject=letter.subject,
            html=letter.body.html,
            text=letter.body.text,
        )
    )
    await session.execute(
        insert(message_events).values(message_id=message_id, status=MessageStatus.QUEUED.value)
    )


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
    return Message(**row, happenings=[Happening(**event) for event in happenings.mappings()])


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


async def _refuse_suppressed(session: TenantSession, letter: Letter) -> None:
    reasons = await session.execute(
        select(suppressions.c.reason).where(suppressions.c.email_digest == letter.to.digest)
    )
    held = set(reasons.scalars()) - {reason.value for reason in PASSES_OVER[letter.category]}
    for reason in SuppressionReason:
        if reason.value in held:
            raise FailedPrecondition(
                f"The recipient is suppressed: {reason.value.replace('_', ' ')}.", reason="SUPPRESSED"
            )


def _select_messages() -> Select[tuple[object, ...]]:
    return (
        select(
            messages.c.id,
            messages.c.campaign_id,
            messages.c.contact_id,
            messages.c.email,
            func.coalesce(message_contents.c.from_email, campaigns.c.from_email).label("from_email"),
            func.coalesce(message_contents.c.subject, campaigns.c.subject).label("subject"),
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
