"""The ready-made workflows, each from what brings a contact in to what ends it: on the whole platform, with mail in real mailboxes.

Everything is done through the public API and the links of the mails; only time is made to pass.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.mail_scene import Letter
from tests.integration.passed_time import (
    is_handed_over,
    let_time_pass,
    look_for_dates_since,
    look_into_segments,
)
from tests.integration.tenants import Tenant, sign_up

SENDER = {"from_email": "letters@green-grocer.test", "from_name": "The Green Grocer"}
WEBSITE = "https://green-grocer.test/plums?ripe=yes&kind=blue"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"}
SECONDS = 30
PAUSE = 0.15


@dataclass(frozen=True)
class Place:
    """A house, and its mailboxes."""

    house: House
    api: httpx.AsyncClient
    mailbox: httpx.AsyncClient


@dataclass(frozen=True)
class Shop:
    """An organization with a workflow that is active."""

    place: Place
    tenant: Tenant
    workflow_id: str

    async def person(self, name: str = "", **known: Any) -> "Person":
        """A contact that comes to be."""
        email = f"{name or 'somebody'}.{uuid4().hex}@example.test"
        made = await self.tenant.key.post("/v1/contacts", {"email": email, "first_name": name, **known})
        return Person(self, made["id"], email)

    async def known(self, email: str) -> "Person":
        """A contact that came to be by itself."""

        async def found() -> list[Json]:
            contacts: list[Json] = (await self.tenant.key.get("/v1/contacts", email=email))["contacts"]
            return contacts

        (contact,) = await until(found, bool, seconds=SECONDS, pause=PAUSE)
        return Person(self, contact["id"], email)

    async def tell(self, name: str, person: "Person") -> None:
        """Tell that something happened with somebody."""
        await self.tenant.key.post("/v1/events", {"name": name, "email": person.email})

    async def report(self) -> Json:
        """What came of the workflow."""
        return await self.tenant.key.get(f"/v1/workflows/{self.workflow_id}/report")


@dataclass(frozen=True)
class Person:
    """Somebody who may be in the workflow."""

    shop: Shop
    contact_id: str
    email: str

    async def enrollment(self) -> Json:
        """Where they are in the workflow; nothing as long as they are not."""
        path = f"/v1/workflows/{self.shop.workflow_id}/enrollments"
        found = (await self.shop.tenant.key.get(path, contact_id=self.contact_id))["enrollments"]
        return found[0] if found else {}

    async def waits_at(self, step_id: str, **span: int) -> None:
        """They come to a wait, and so much time passes."""

        def is_there(seen: Json) -> bool:
            place = seen.get("place") or {}
            return place.get("step_id") == step_id and bool(place.get("waiting"))

        seen = await until(self.enrollment, is_there, seconds=SECONDS, pause=PAUSE)
        assert is_there(seen), seen
        await let_time_pass(self.shop.place.house, self.contact_id, timedelta(**span))

    async def ends(self) -> tuple[str, str]:
        """Why the workflow ended for them."""
        seen = await until(
            self.enrollment, lambda seen: seen.get("status") == "ended", seconds=SECONDS, pause=PAUSE
        )
        return seen.get("cause", ""), seen.get("reason", "")

    async def mails(self) -> list[Json]:
        """What is in their mailbox, the oldest first."""
        found = await self.shop.place.mailbox.get("/api/messages", params={"to": self.email})
        messages: list[Json] = found.raise_for_status().json()["messages"]
        return sorted(messages, key=lambda message: str(message["received_at"]))

    async def gets(self, subject: str, *words: str) -> Letter:
        """The mail with this subject comes: one of the workflow's, by which they can opt out."""

        async def arrived() -> list[Json]:
            return [message for message in await self.mails() if message["subject"] == subject]

        messages = await until(arrived, bool, seconds=SECONDS, pause=PAUSE)
        assert len(messages) == 1, (subject, [message["subject"] for message in await self.mails()])
        raw = (await self.shop.place.mailbox.get(f"/api/messages/{messages[0]['id']}/raw")).content
        mail = message_from_bytes(raw, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert mail["From"].startswith("The Green Grocer <")
        # Their own domain is not verified.
        assert (mail["Reply-To"], mail["To"]) == (SENDER["from_email"], self.email)
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        letter = Letter(mail)
        assert "/u/" in letter.one_click
        said = mail.get_body(("plain",))
        assert said is not None
        for word in words:
            assert word in said.get_content()
        return letter

    async def follows(self, letter: Letter) -> None:
        """They read it for a minute, and follow its link."""
        body = letter.mail.get_body(("html",))
        assert body is not None
        (link,) = re.findall(r'href="[^"]+(/t/c/[\w-]+)"', body.get_content())
        house = self.shop.place.house
        assert await until(lambda: is_handed_over(house, self.contact_id), bool, seconds=SECONDS, pause=PAUSE)
        await let_time_pass(house, self.contact_id, timedelta(minutes=1))
        followed = await self.shop.place.api.get(link, headers=BROWSER, follow_redirects=False)
        assert (followed.status_code, followed.headers["location"]) == (302, WEBSITE)

    async def opts_out(self, letter: Letter) -> None:
        """By the button of their mail program."""
        left = await self.shop.place.api.post(
            letter.one_click,
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=b"List-Unsubscribe=One-Click",
        )
        assert left.status_code == 200

    async def subjects(self) -> list[str]:
        """Of all mail that they ever got."""
        return [str(message["subject"]) for message in await self.mails()]

    async def tags(self) -> list[str]:
        """What they are tagged with."""
        contact = await self.shop.tenant.key.get(f"/v1/contacts/{self.contact_id}")
        return [str(tag) for tag in contact["tags"]]


@pytest.fixture(scope="module")
async def place(house: House) -> AsyncIterator[Place]:
    async with (
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mailbox,
    ):
        yield Place(house, api, mailbox)


@pytest.fixture(scope="module")
async def grocer(place: Place) -> Tenant:
    """Has all workflows but the one that begins with whoever subscribes."""
    return await sign_up(place.api)


async def open_shop(
    place: Place, tenant: Tenant, name: str, change: Json | None = None, **needs: str
) -> Shop:
    """Copy a ready-made workflow, change it, and activate it."""
    made = await tenant.key.post(f"/v1/ready-made-workflows/{name}/copy", SENDER | needs)
    if change:
        await tenant.key.patch(f"/v1/workflows/{made['id']}", change)
    active = await tenant.key.post(f"/v1/workflows/{made['id']}/activate")
    assert active["status"] == "active"
    return Shop(place, tenant, made["id"])


async def test_who_joins_a_list_is_welcomed_until_they_look_around_order_or_leave(
    place: Place, grocer: Tenant
) -> None:
    friends = await grocer.key.post("/v1/lists", {"name": "Friends"})
    goal = {"goal": {"event": {"custom_event": {"name": "ordered"}}}}
    shop = await open_shop(place, grocer, "welcome", goal, list_id=friends["id"], website=WEBSITE)
    joined: Json = {"list_ids": [friends["id"]]}
    curious, quiet, buyer, leaver = (
        await shop.person("Ada", **joined),
        await shop.person("Bob", **joined),
        await shop.person(**joined),
        await shop.person("Eve", **joined),
    )

    async def looks_around() -> None:
        await curious.gets("Welcome, Ada", "Hello Ada,", "thank you for joining us")
        await curious.waits_at("three-days", days=3)
        await curious.follows(await curious.gets("Where to begin", "Hello Ada,", WEBSITE))
        assert await curious.ends() == ("exit_step", "looked around")

    async def does_not() -> None:
        await quiet.gets("Welcome, Bob")
        await quiet.waits_at("three-days", days=3)
        await quiet.gets("Where to begin", "Hello Bob,")
        await quiet.waits_at("looked-around", days=4)
        await quiet.waits_at("evening", days=1)
        await quiet.gets("A short question")
        assert await quiet.ends() == ("exit_step", "welcomed")

    async def orders() -> None:
        await buyer.gets("Welcome, there", "Hello there,")
        await shop.tell("ordered", buyer)
        assert await buyer.ends() == ("goal", "")

    async def leaves() -> None:
        letter = await leaver.gets("Welcome, Eve")
        await leaver.waits_at("three-days", days=2)
        await leaver.opts_out(letter)
        assert await leaver.ends() == ("suppressed", "unsubscribe")
        await let_time_pass(place.house, leaver.contact_id, timedelta(days=30))

    await asyncio.gather(looks_around(), does_not(), orders(), leaves())
    assert await curious.subjects() == ["Welcome, Ada", "Where to begin"]
    assert await buyer.subjects() == ["Welcome, there"]
    assert await leaver.subjects() == ["Welcome, Eve"]
    seen = await shop.report()
    assert (seen["enrolled"], seen["under_way"], seen["converted"]) == (4, 0, 1)


async def test_who_confirms_a_subscription_is_thanked_and_told_what_to_expect(place: Place) -> None:
    tenant = await sign_up(place.api)
    friends = await tenant.key.post("/v1/lists", {"name": "Friends"})
    told = await tenant.key.post("/v1/tags", {"name": "told"})
    shop = await open_shop(place, tenant, "double-opt-in-follow-up", tag_id=told["id"])
    form = await tenant.key.post(
        "/v1/forms",
        {
            "name": "Letters",
            "title": "Letters",
            "fields": [{"key": "first_name", "required": True}],
            "consent_text": "I agree to get these letters.",
            "list_ids": [friends["id"]],
            **SENDER,
        },
    )
    email = f"kim.{uuid4().hex}@example.test"
    submitted = await place.api.post(f"/f/{form['id']}", data={"email": email, "first_name": "Kim"})
    assert submitted.status_code == 200
    await confirm(place, email)
    kim = await shop.known(email)
    await kim.gets("You are on the list, Kim", "you have confirmed your address")
    await kim.waits_at("two-days", days=2)
    await kim.waits_at("morning", days=1)
    await kim.gets("What you can expect from us", "Hello Kim,")
    assert await kim.ends() == ("exit_step", "told what to expect")
    assert await until(kim.tags, bool, seconds=SECONDS, pause=PAUSE) == ["told"]


async def confirm(place: Place, email: str) -> None:
    """Follow the link of the mail that asks for it, and press the button there."""

    async def arrived() -> list[Json]:
        found = await place.mailbox.get("/api/messages", params={"to": email})
        messages: list[Json] = found.raise_for_status().json()["messages"]
        return messages

    (asked,) = await until(arrived, bool, seconds=SECONDS, pause=PAUSE)
    raw = (await place.mailbox.get(f"/api/messages/{asked['id']}/raw")).content
    mail = message_from_bytes(raw, policy=policy.default)
    body = mail.get_body(("plain",))
    assert body is not None
    (link,) = re.findall(r"/f/confirm/[\w-]+", body.get_content())
    assert (await place.api.post(link)).status_code == 200


async def test_who_was_silent_is_asked_twice_and_marked_unless_they_come_back(
    place: Place, grocer: Tenant
) -> None:
    asleep = await grocer.key.post("/v1/tags", {"name": "asleep"})
    silent = await grocer.key.post("/v1/tags", {"name": "silent"})
    rule = {"all": [{"tag": {"tag_id": asleep["id"]}}]}
    segment = await grocer.key.post("/v1/segments", {"name": "Asleep", "rule": rule})
    needs = {"segment_id": segment["id"], "tag_id": silent["id"], "website": WEBSITE}
    shop = await open_shop(place, grocer, "re-engagement", **needs)
    awake, gone = (
        await shop.person("Lou", tags=["asleep"]),
        await shop.person("Zoe", tags=["asleep"]),
    )

    async def look_again() -> bool:
        await look_into_segments(place.house, grocer.organization_id)
        return bool(await awake.enrollment() and await gone.enrollment())

    assert await until(look_again, bool, seconds=SECONDS)

    async def comes_back() -> None:
        await awake.follows(await awake.gets("Are you still interested, Lou?", "Hello Lou,", WEBSITE))
        assert await awake.ends() == ("exit_step", "came back")

    async def stays_away() -> None:
        await gone.gets("Are you still interested, Zoe?")
        await gone.waits_at("first-answer", days=7)
        await gone.gets("Shall we say goodbye?", "Hello Zoe,")
        await gone.waits_at("second-answer", days=7)
        assert await gone.ends() == ("exit_step", "did not react")

    await asyncio.gather(comes_back(), stays_away())
    tags = await until(gone.tags, lambda found: "silent" in found, seconds=SECONDS, pause=PAUSE)
    assert tags == ["asleep", "silent"]
    assert await awake.tags() == ["asleep"]
    assert await awake.subjects() == ["Are you still interested, Lou?"]


async def test_who_places_an_order_is_thanked_and_asked_unless_it_is_refunded(
    place: Place, grocer: Tenant
) -> None:
    shop = await open_shop(place, grocer, "post-purchase")
    happy, unhappy = await shop.person("Max"), await shop.person("Pia")

    async def keeps_it() -> None:
        await shop.tell("order_placed", happy)
        await happy.waits_at("an-hour", hours=1)
        await happy.gets("Thank you for your order, Max", "Hello Max,")
        await happy.waits_at("a-week", days=7)
        await happy.gets("How do you like it?")
        await happy.waits_at("three-weeks", days=21)
        await happy.waits_at("morning", days=1)
        await happy.gets("What goes well with it", "Hello Max,")
        assert await happy.ends() == ("exit_step", "all mails sent")

    async def gives_it_back() -> None:
        await shop.tell("order_placed", unhappy)
        await unhappy.waits_at("an-hour", hours=1)
        await unhappy.gets("Thank you for your order, Pia")
        await unhappy.waits_at("a-week", days=3)
        await shop.tell("order_refunded", unhappy)
        assert (await unhappy.ends())[0] == "exit_condition"
        await let_time_pass(place.house, unhappy.contact_id, timedelta(days=30))

    await asyncio.gather(keeps_it(), gives_it_back())
    assert await unhappy.subjects() == ["Thank you for your order, Pia"]


async def test_whose_birthday_it_is_is_congratulated_and_nobody_else(place: Place, grocer: Tenant) -> None:
    await grocer.key.post("/v1/custom-fields", {"key": "birthday", "type": "date"})
    shop = await open_shop(place, grocer, "birthday", custom_field="birthday")
    # The day of which it was nine in the morning last.
    day = (datetime.now(UTC) - timedelta(hours=9)).date()
    other = day - timedelta(days=40)
    born, other_day = (
        await shop.person("Sam", custom_fields={"birthday": f"{day:1996-%m-%d}"}),
        await shop.person("Tim", custom_fields={"birthday": f"{other:1996-%m-%d}"}),
    )
    await look_for_dates_since(place.house, shop.workflow_id, timedelta(hours=24))
    await born.gets("Happy birthday, Sam!", "Dear Sam,")
    assert await born.ends() == ("exit_step", "congratulated")
    assert (await other_day.enrollment(), await other_day.subjects()) == ({}, [])
