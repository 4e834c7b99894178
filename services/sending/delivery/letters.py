"""From claimed messages to the envelopes they go in."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import select

from chassis.context import RequestContext
from chassis.database import TenantSession
from services.sending.delivery.claims import Claimed
from services.sending.delivery.mime import Content, Skeleton, skeleton, wire_form
from services.sending.delivery.smtp.envelope import Envelope
from services.sending.tables import campaigns, message_contents
from services.sending.unsubscribe_links import UnsubscribeLinks

_CAMPAIGNS_KEPT = 32

_CAMPAIGN = (
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


class Letters:
    """Writes the mails. A campaign, which cannot change once it was launched, is prepared once."""

    def __init__(self, links: UnsubscribeLinks, hostname: str) -> None:
        self._links = links
        self._hostname = hostname
        self._campaigns: OrderedDict[UUID, Skeleton] = OrderedDict()

    async def skeletons(self, session: TenantSession, claimed: Iterable[Claimed]) -> Mapping[UUID, Skeleton]:
        """What each of the messages is made from, by its id."""
        return {message.id: await self._skeleton(session, message) for message in claimed}

    def envelope(self, context: RequestContext, message: Claimed, parts: Skeleton) -> Envelope:
        """The message as it goes to the relay."""
        recipient = wire_form(message.email)
        url = self._links.url(context.organization, message.id, message.digest) if parts.links else ""
        return Envelope(
            sender=f"bounces@{self._hostname}",
            recipient=recipient,
            content=parts.mail(
                to=recipient, message_id=message.id, hostname=self._hostname, unsubscribe_url=url
            ),
            internationalized=not (recipient.isascii() and parts.headers.isascii()),
        )

    async def _skeleton(self, session: TenantSession, message: Claimed) -> Skeleton:
        if message.campaign_id is None:
            single = select(*_SINGLE).where(message_contents.c.message_id == message.id)
            row = (await session.execute(single)).mappings().one()
            return skeleton(Content(**row), links=False)
        known = self._campaigns.get(message.campaign_id)
        if known is None:
            campaign = select(*_CAMPAIGN).where(campaigns.c.id == message.campaign_id)
            row = (await session.execute(campaign)).mappings().one()
            known = self._campaigns[message.campaign_id] = skeleton(Content(**row), links=True)
            if len(self._campaigns) > _CAMPAIGNS_KEPT:
                self._campaigns.popitem(last=False)
        self._campaigns.move_to_end(message.campaign_id)
        return known
