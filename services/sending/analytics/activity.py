"""What happened between an organization and its contacts by mail: the newest first, from events and from messages that are settled."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, literal, null, select, tuple_, union_all

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from services.sending.tables import campaign_links, engagement_events, messages

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the list an event stands; the id decides between events of one moment."""

    occurred_at: datetime
    id: UUID

    @property
    def token(self) -> str:
        """As a page token."""
        microseconds = (self.occurred_at - _EPOCH) // _MICROSECOND
        return urlsafe_b64encode(microseconds.to_bytes(_TIME_BYTES) + self.id.bytes).decode()

    @classmethod
    def parse(cls, token: str) -> "Place | None":
        """The place that a token names, None for the first page. Raises InvalidRequest for any other text."""
        if not token:
            return None
        try:
            told = urlsafe_b64decode(token)
            moment = _EPOCH + int.from_bytes(told[:_TIME_BYTES]) * _MICROSECOND
            return cls(moment, UUID(bytes=told[_TIME_BYTES:]))
        except (NotBase64, ValueError, OverflowError):
            raise InvalidRequest(
                FieldViolation("page_token", "is not a token that a list answered with")
            ) from None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `kind` is what a recipient did, or the status in which a message was settled."""

    place: Place
    kind: str
    message_id: UUID
    campaign_id: UUID | None
    contact_id: UUID | None
    # Of a click.
    url: str
    # Which rule tells that it was a program; empty for a person.
    bot_rule: str
    # Of a veto.
    veto_reason: str | None
    # Of a message that was handed over.
    smtp_reply: str


async def page_of_contact(
    session: TenantSession, contact_id: UUID, campaign_id: UUID | None, *, after: Place | None, size: int
) -> list[Event]:
    """Up to `size` events of a contact, of one campaign if that is named: what became of its messages, and what it did."""
    did = _did(after, size).where(engagement_events.c.contact_id == contact_id)
    settled = _settled(after, size).where(messages.c.contact_id == contact_id)
    if campaign_id is not None:
        did = did.where(engagement_events.c.campaign_id == campaign_id)
        settled = settled.where(messages.c.campaign_id == campaign_id)
    both = union_all(did.subquery().select(), settled.subquery().select()).subquery()
    newest = select(both).order_by(both.c.occurred_at.desc(), both.c.id.desc()).limit(size)
    return _events((await session.execute(newest)).all())


async def page_of_campaign(
    session: TenantSession, campaign_id: UUID, *, after: Place | None, size: int
) -> list[Event]:
    """Up to `size` events of what a campaign's recipients did; what became of its messages is told by themselves."""
    did = _did(after, size).where(engagement_events.c.campaign_id == campaign_id)
    return _events((await session.execute(did)).all())


def _did(after: Place | None, size: int) -> Any:
    event = engagement_events.c
    mailing_id = func.coalesce(event.campaign_id, event.workflow_mail_id)
    link = and_(campaign_links.c.campaign_id == mailing_id, campaign_links.c.number == event.link_number)
    columns = (
        event.occurred_at,
        event.id,
        event.kind,
        event.message_id,
        event.campaign_id,
        event.contact_id,
        func.coalesce(campaign_links.c.url, "").label("url"),
        event.bot_rule,
        null().label("veto_reason"),
        literal("").label("smtp_reply"),
    )
    found = select(*columns).select_from(engagement_events.outerjoin(campaign_links, link))
    return _behind(found, event.occurred_at, event.id, after, size)


def _settled(after: Place | None, size: int) -> Any:
    message = messages.c
    columns = (
        message.settled_at.label("occurred_at"),
        message.id,
        message.status.label("kind"),
        message.id.label("message_id"),
        message.campaign_id,
        message.contact_id,
        literal("").label("url"),
        literal("").label("bot_rule"),
        message.veto_reason,
        message.smtp_reply,
    )
    found = select(*columns).where(message.settled_at.is_not(None))
    return _behind(found, message.settled_at, message.id, after, size)


def _behind(found: Any, occurred_at: Any, id_: Any, after: Place | None, size: int) -> Any:
    if after is not None:
        found = found.where(tuple_(occurred_at, id_) < tuple_(literal(after.occurred_at), literal(after.id)))
    return found.order_by(occurred_at.desc(), id_.desc()).limit(size)


def _events(rows: Sequence[Row[Any]]) -> list[Event]:
    return [
        Event(
            Place(row.occurred_at, row.id),
            row.kind,
            row.message_id,
            row.campaign_id,
            row.contact_id,
            row.url,
            row.bot_rule,
            row.veto_reason,
            row.smtp_reply,
        )
        for row in rows
    ]
