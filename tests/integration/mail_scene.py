"""An organization that writes to people, and the mailboxes of those people: for tests of what comes of mail."""

import re
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape

import httpx

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant


@dataclass(frozen=True)
class Letter:
    """A campaign's mail as it was received."""

    mail: EmailMessage

    @property
    def one_click(self) -> str:
        """The link that a mail client posts to."""
        (link,) = web_addresses(self.mail["List-Unsubscribe"])
        return link

    @property
    def preferences(self) -> str:
        """The link behind the word."""
        return next(link for link in self.links if "/p/" in link)

    @property
    def links(self) -> set[str]:
        """Every address of the web in it: of its header, its text and its HTML."""
        bodies = [part.get_content() for part in self.mail.walk() if part.get_content_maintype() == "text"]
        return web_addresses(self.mail.get("List-Unsubscribe", "")) | set().union(*map(web_addresses, bodies))


@dataclass(frozen=True)
class Scene:
    """A shop that has written to everybody once, a and everybody's mailbox."""

    house: House
    api: httpx.AsyncClient
    shop: Tenant
    mailbox: httpx.AsyncClient
    addresses: dict[str, str] = field(default_factory=dict)
    letters: dict[str, Letter] = field(default_factory=dict)

    async def write_to(self, *names: str) -> str:
        """Send a campaign to these people; answers its id."""
        friends = await self.shop.key.post("/v1/lists", {"name": "Friends"})
        people = [{"email": self.addresses[name], "list_ids": [friends["id"]]} for name in names]
        await self.shop.key.post("/v1/contacts/batch", {"contacts": people})
        campaign = await self.shop.key.post(
            "/v1/campaigns",
            {
                "name": "Plums",
                "subject": "Plums",
                "from_email": "letters@green-grocer.test",
                "html": '<body><p>Ripe: <a href="https://green-grocer.test/plums">plums</a></p></body>',
                "text": "Plums.",
                "audience": {"list_ids": [friends["id"]]},
            },
        )
        await self.shop.key.post(f"/v1/campaigns/{campaign['id']}/launch", {})
        return str(campaign["id"])

    async def letter(self, to: str, *, mails: int = 1) -> Letter:
        """The latest of so many mails to an address."""

        async def arrived() -> list[Json]:
            found = await self.mailbox.get("/api/messages", params={"to": to})
            messages: list[Json] = found.raise_for_status().json()["messages"]
            return messages

        messages = await until(arrived, lambda found: len(found) >= mails, seconds=30)
        latest = max(messages, key=lambda message: str(message["received_at"]))
        raw = (await self.mailbox.get(f"/api/messages/{latest['id']}/raw")).content
        mail = message_from_bytes(raw, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        return Letter(mail)

    async def contact(self, name: str) -> Json:
        """Somebody as a contact."""
        (found,) = (await self.shop.key.get("/v1/contacts", email=self.addresses[name]))["contacts"]
        contact: Json = found
        return contact

    async def public_list(self, title: str, *names: str) -> str:
        """A list that people see, with these in it; answers its id."""
        fields = {"name": title, "description": "Every other Friday.", "is_public": True}
        made = await self.shop.key.post("/v1/lists", fields)
        people = [{"email": self.addresses[name], "list_ids": [made["id"]]} for name in names]
        await self.shop.key.post("/v1/contacts/batch", {"contacts": people})
        return str(made["id"])

    async def reasons(self, name: str) -> list[str]:
        """Why the list keeps somebody from mail."""
        found = await self.shop.key.get("/v1/suppressions", email=self.addresses[name])
        return [entry["reason"] for entry in found["suppressions"]]

    async def fate(self, campaign_id: str, name: str) -> tuple[str, str]:
        """What became of somebody's mail of a campaign, and why."""

        async def report() -> Json:
            return await self.shop.key.get(f"/v1/campaigns/{campaign_id}/report")

        await until(report, lambda seen: seen["status"] == "completed", seconds=30)
        messages = await self.shop.key.every(f"/v1/campaigns/{campaign_id}/messages", "messages")
        (message,) = [message for message in messages if message["to"] == self.addresses[name]]
        return message["status"], message["veto_reason"]


def web_addresses(text: str) -> set[str]:
    """Every address of the web in a text."""
    return {unescape(found) for found in re.findall(r"https?://[^\s<>\"']+", text)}
