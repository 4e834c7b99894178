"""From claimed messages to the envelopes they go in."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select

from chassis.context import RequestContext
from chassis.database import TenantSession
from services.sending.delivery.claims import Claimed
from services.sending.delivery.mime import Addressee, Sender, Skeleton, wire_form
from services.sending.delivery.smtp.envelope import Envelope
from services.sending.tables import campaigns, message_contents
from services.sending.templating.mailing import Mailing, compile_mailing
from services.sending.templating.merge_fields import contact
from services.sending.unsubscribe_links import UnsubscribeLinks

_CAMPAIGNS_KEPT = 32

_CAMPAIGN = (
    campaigns.c.name,
    campaigns.c.from_name,
    campaigns.c.from_email,
    campaigns.c.subject,
    campaigns.c.html,
    campaigns.c.text,
)
_SINGLE = (
    message_contents.c.from_name,
    message_contents.c.from_email,
    message_contents.c.subject,
    message_contents.c.html,
    message_contents.c.text,
)


@dataclass(frozen=True)
class Draft:
    """What a message is made from."""

    sender: Sender
    hostname: str
    subject: str
    html: str
    text: str
    # What its templates say of the campaign; None for a single message, whose words are no templates any more.
    campaign: Mapping[str, str] | None = None

    @cached_property
    def skeleton(self) -> Skeleton:
        """What is the same in all its mails. Raises InvalidRequest when its templates are not good, which a launch has seen to."""
        if self.campaign is None:
            mailing = Mailing.verbatim(self.subject, self.html, self.text)
        else:
            mailing, _ = compile_mailing(self.subject, self.html, self.text)
        return Skeleton(self.sender, mailing, self.hostname)


class Letters:
    """Writes the mails. A campaign, which cannot change once it was launched, is compiled once."""

    def __init__(self, links: UnsubscribeLinks, hostname: str) -> None:
        self._links = links
        self._hostname = hostname
        self._campaigns: OrderedDict[UUID, Draft] = OrderedDict()

    async def drafts(self, session: TenantSession, claimed: Iterable[Claimed]) -> Mapping[UUID, Draft]:
        """What each of the messages is made from, by its id."""
        return {message.id: await self._draft(session, message) for message in claimed}

    def envelope(self, context: RequestContext, message: Claimed, draft: Draft) -> Envelope:
        """The message as it goes to the relay. Raises InvalidRequest when it cannot be written to this recipient."""
        recipient = wire_form(message.email)
        url = self._links.url(context.organization, message.id, message.digest) if draft.campaign else ""
        data = {
            "campaign": draft.campaign or {},
            "contact": contact(message.email, message.merge_fields),
            "unsubscribe_url": url,
        }
        return Envelope(
            sender=f"bounces@{self._hostname}",
            recipient=recipient,
            content=draft.skeleton.mail(Addressee(message.id, recipient, data, url)).content,
            internationalized=draft.skeleton.internationalized or not recipient.isascii(),
        )

    async def _draft(self, session: TenantSession, message: Claimed) -> Draft:
        if message.campaign_id is None:
            return await self._read_single(session, message.id)
        known = self._campaigns.get(message.campaign_id)
        if known is None:
            known = self._campaigns[message.campaign_id] = await self._read_campaign(
                session, message.campaign_id
            )
            if len(self._campaigns) > _CAMPAIGNS_KEPT:
                self._campaigns.popitem(last=False)
        self._campaigns.move_to_end(message.campaign_id)
        return known

    async def _read_campaign(self, session: TenantSession, campaign_id: UUID) -> Draft:
        row = (await session.execute(select(*_CAMPAIGN).where(campaigns.c.id == campaign_id))).one()
        return self._of(row, {"id": str(campaign_id), "name": row.name})

    async def _read_single(self, session: TenantSession, message_id: UUID) -> Draft:
        single = select(*_SINGLE).where(message_contents.c.message_id == message_id)
        row = (await session.execute(single)).one()
        return self._of(row, None)

    def _of(self, row: Row[Any], campaign: Mapping[str, str] | None) -> Draft:
        sender = Sender(row.from_name, row.from_email)
        return Draft(sender, self._hostname, row.subject, row.html, row.text, campaign)
