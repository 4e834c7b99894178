"""Somebody who reads a tracked mail: opens it, follows its links, and what that counts as."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from chassis.tests.deadlines import until
from flownurture.sending.v1 import tracking_pb2
from services.sending.delivery.worker import Worker
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tracking.tally import tally

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
HTML = (
    '<html><body><a href="https://shop.test/plums?a=1&amp;b=2">Plums</a>, <a href="https://shop.test/pears">'
    'Pears</a>, <a href="https://shop.test/{{ contact.email }}">Yours</a></body></html>'
)
PLUMS, PEARS = "https://shop.test/plums?a=1&b=2", "https://shop.test/pears"
TRACKED = re.compile(r'"https?://[^"/]+/t/([oc])/([\w-]+)"')


@dataclass(frozen=True)
class Letter:
    """A tracked mail in the hands of its reader."""

    tenant: Tenant
    campaign_id: str
    message_id: UUID
    contact_id: UUID
    html: str
    text: str

    @property
    def pixel(self) -> str:
        """The token of its pixel."""
        (token,) = (token for kind, token in TRACKED.findall(self.html) if kind == "o")
        return str(token)

    @property
    def links(self) -> Sequence[str]:
        """The tokens of its links, as they stand in it."""
        return [token for kind, token in TRACKED.findall(self.html) if kind == "c"]

    async def open(self, *, agent: str = BROWSER, head_only: bool = False) -> Any:
        """Load its pictures."""
        self.tenant.context = replace(self.tenant.context, user_agent=agent, head_only=head_only)
        return await self.tenant(tracking_pb2.GetOpenPixelRequest(token=self.pixel))

    async def click(self, link: int = 0, *, agent: str = BROWSER, head_only: bool = False) -> str:
        """Follow a link; answers where it leads."""
        self.tenant.context = replace(self.tenant.context, user_agent=agent, head_only=head_only)
        answer = await self.tenant(tracking_pb2.FollowLinkRequest(token=self.links[link]))
        return str(answer.location)

    async def later(self) -> None:
        """Let it be an hour since the mail came."""
        await self.tenant.rows("UPDATE messages SET settled_at = settled_at - interval '1 hour'")

    async def judged(self, hits: int) -> list[tuple[str, int, str]]:
        """What so many hits count as, in their order: what was done, with which link, and which rule tells a program."""

        async def all_in() -> bool:
            ((written,),) = await self.tenant.rows("SELECT count(*) FROM engagement_hits")
            return bool(written == hits)

        await until(all_in)
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            assert await tally(session, timedelta(0)) == hits
        rows = await self.tenant.rows(
            "SELECT kind, link_number, bot_rule FROM engagement_events ORDER BY occurred_at, id"
        )
        return [tuple(row) for row in rows]

    async def counts(self) -> dict[tuple[str, int], tuple[int, int, int]]:
        """By what was done and with which link: by persons, with how many messages, by programs."""
        rows = await self.tenant.rows(
            "SELECT kind, link_number, total, messages, by_bots FROM engagement_counts ORDER BY 1, 2"
        )
        return {(row.kind, row.link_number): (row.total, row.messages, row.by_bots) for row in rows}


async def letter(tenant: Tenant, worker: Worker, relay: MailRelay, **fields: Any) -> Letter:
    """A campaign's mail, as it was received a moment ago."""
    campaign_id = await tenant.launch("reader@example.com", **{"html": HTML, **fields})
    await tenant.deliver(worker)
    return await received(tenant, relay, campaign_id)


async def received(tenant: Tenant, relay: MailRelay, campaign_id: str = "") -> Letter:
    """The only mail of the organization, as its reader has it."""
    (message,) = await tenant.rows("SELECT id, contact_id FROM messages")
    mail = message_from_bytes(relay.mail_to("reader@example.com"), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    text, html = (part.get_content() for part in mail.iter_parts())
    return Letter(tenant, campaign_id, message.id, message.contact_id, html, text)
