"""The hosted form as people meet it: in a browser, without scripts, at a desk and on a phone."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from typing import Literal
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.browser import (
    DESKTOP,
    PHONE,
    barriers,
    keep,
    needs_chromium,
    reader,
    running_chromium,
)
from tests.integration.house import House
from tests.integration.tenants import Tenant, sign_up

pytestmark = needs_chromium

FORM = {
    "name": "Newsletter",
    "title": "Letters from the Green Grocer",
    "description": "What is ripe, what to cook with it, and who grew it. Every other Friday.",
    "fields": [
        {"key": "first_name", "required": True},
        {"key": "favourite", "label": "What you like best"},
        {"key": "recipes", "label": "Send me recipes as well"},
    ],
    "consent_text": "I agree to get these letters by e-mail. I can unsubscribe with one click in each of them.",
    "success_message": "Welcome! The first letter reaches you on Friday.",
    "from_name": "The Green Grocer",
    "from_email": "letters@green-grocer.test",
}
CONFIRM, UNSUBSCRIBE = "/f/confirm/", "/u/"
SUBJECT = "Please confirm: Letters from the Green Grocer"
VIEWPORTS = pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])


@dataclass(frozen=True)
class Scene:
    """A shop with a form, a browser to see it in, and the inbox of everybody who fills it in."""

    gateway_url: str
    shop: Tenant
    form: Json
    browser: Browser
    mailbox: httpx.AsyncClient

    @property
    def form_url(self) -> str:
        """Where the form is filled in."""
        return f"{self.gateway_url}/f/{self.form['id']}"

    async def contact(self, email: str) -> Json | None:
        """The contact of an address, if there is one."""
        found: list[Json] = (await self.shop.key.get("/v1/contacts", email=email))["contacts"]
        return found[0] if found else None

    async def link(self, email: str, subject: str, path: str, *, mails: int = 1) -> str:
        """The link with this path in the latest of so many mails to an address about something."""

        async def arrived() -> list[Json]:
            found = await self.mailbox.get("/api/messages", params={"to": email, "subject": subject})
            messages: list[Json] = found.raise_for_status().json()["messages"]
            return messages

        messages = await until(arrived, lambda found: len(found) >= mails, seconds=30)
        latest = max(messages, key=lambda message: str(message["received_at"]))
        raw = (await self.mailbox.get(f"/api/messages/{latest['id']}/raw")).content
        mail = message_from_bytes(raw, policy=policy.default)
        body = mail.get_body(("plain",))
        assert body is not None
        found = re.search(f"{path}[A-Za-z0-9_-]+", f"{mail['List-Unsubscribe']} {body.get_content()}")
        assert found is not None
        return self.gateway_url + found[0]

    async def write_to_everybody(self, subject: str) -> None:
        """Send a campaign to whom the form leads."""
        campaign = await self.shop.key.post(
            "/v1/campaigns",
            {
                "name": subject,
                "subject": subject,
                "from_email": FORM["from_email"],
                "text": "Plums.",
                "audience": {"list_ids": self.form["list_ids"]},
            },
        )
        await self.shop.key.post(f"/v1/campaigns/{campaign['id']}/launch", {})

    async def shows(self, email: str, status: str) -> None:
        """Wait until the contact has this status."""

        async def shown() -> str:
            return str((await self.contact(email) or {}).get("status"))

        assert await until(shown, lambda found: found == status, seconds=30) == status


@pytest.fixture(scope="module")
async def scene(house: House) -> AsyncIterator[Scene]:
    async with (
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mailbox,
        running_chromium() as browser,
    ):
        shop = await sign_up(api)
        favourites = {"key": "favourite", "type": "choice", "choices": ["Fruit", "Herbs", "Roots"]}
        await shop.key.post("/v1/custom-fields", favourites)
        await shop.key.post("/v1/custom-fields", {"key": "recipes", "type": "boolean"})
        friends = await shop.key.post("/v1/lists", {"name": "Friends"})
        form = await shop.key.post("/v1/forms", {**FORM, "list_ids": [friends["id"]]})
        yield Scene(house.gateway_url, shop, form, browser, mailbox)


async def fill_in(page: Page, email: str) -> None:
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("First name").fill("Ada")
    await page.get_by_label("What you like best").select_option("Herbs")
    await page.get_by_label("Send me recipes as well").check()
    await page.get_by_role("button", name="Subscribe").click()


async def heading(page: Page) -> str:
    return await page.get_by_role("heading", level=1).inner_text()


@VIEWPORTS
async def test_a_person_subscribes_leaves_and_comes_back_by_their_own_clicks(
    scene: Scene, name: str, viewport: ViewportSize
) -> None:
    email = f"ada.{uuid4().hex}@example.test"
    async with reader(scene.browser, viewport) as page:
        await page.goto(scene.form_url)
        await keep(page, f"{name}-1-form")
        await fill_in(page, email)
        assert await heading(page) == "Please check your inbox"
        await keep(page, f"{name}-2-check-inbox")

        await page.goto(await scene.link(email, SUBJECT, CONFIRM))
        assert await heading(page) == "One click left"
        await keep(page, f"{name}-3-confirm")
        # Looking is not confirming.
        await page.reload()
        assert await scene.contact(email) is None
        await page.get_by_role("button", name="Yes, subscribe me").click()
        assert await heading(page) == "You are subscribed"
        await keep(page, f"{name}-4-subscribed")
        contact = await scene.contact(email)
        assert contact is not None
        assert contact["status"] == "subscribed"
        assert contact["custom_fields"] == {"favourite": "Herbs", "recipes": True}

        subject = f"Ripe for {name}"
        await scene.write_to_everybody(subject)
        await page.goto(await scene.link(email, subject, UNSUBSCRIBE))
        await page.get_by_role("button").click()
        await scene.shows(email, "unsubscribed")

        await page.goto(scene.form_url)
        await fill_in(page, email)
        assert await heading(page) == "Please check your inbox"
        again = await scene.link(email, SUBJECT, CONFIRM, mails=2)
        await scene.shows(email, "unsubscribed")
        await page.goto(again)
        await page.get_by_role("button", name="Yes, subscribe me").click()
        await scene.shows(email, "subscribed")
    ledger = (await scene.shop.key.get(f"/v1/contacts/{contact['id']}/consents"))["consents"]
    assert [entry["type"] for entry in ledger] == [
        "cleared",
        "resubscribed",
        "form_submitted",
        "unsubscribed",
        "confirmed",
        "form_submitted",
        "subscribed",
    ]


@VIEWPORTS
async def test_what_is_wrong_is_shown_where_it_is(scene: Scene, name: str, viewport: ViewportSize) -> None:
    async with reader(scene.browser, viewport) as page:
        await page.goto(scene.form_url)
        await page.get_by_label("E-mail address").fill("ada")
        await page.get_by_role("button", name="Subscribe").click()
        assert await heading(page) == FORM["title"]
        summary = await page.get_by_role("alert").inner_text()
        assert "is not an e-mail address" in summary
        assert "First name: is needed" in summary
        assert await page.get_by_label("E-mail address").input_value() == "ada"
        await keep(page, f"{name}-5-wrong")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@VIEWPORTS
async def test_no_page_shuts_anybody_out(
    scene: Scene, name: str, viewport: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    email = f"grace.{uuid4().hex}@example.test"
    async with reader(scene.browser, viewport, scripts=True) as page:
        await page.emulate_media(color_scheme=scheme)
        await page.goto(scene.form_url)
        assert await barriers(page) == []
        if scheme == "dark":
            await keep(page, f"{name}-6-dark")
        await page.get_by_role("button", name="Subscribe").click()
        assert await barriers(page) == []
        await fill_in(page, email)
        assert await barriers(page) == []
        await page.goto(await scene.link(email, SUBJECT, CONFIRM))
        assert await barriers(page) == []
        await page.get_by_role("button", name="Yes, subscribe me").click()
        assert await barriers(page) == []


@VIEWPORTS
async def test_no_page_is_wider_than_the_screen_or_loads_from_elsewhere(
    scene: Scene, name: str, viewport: ViewportSize
) -> None:
    async with reader(scene.browser, viewport, scripts=True) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(scene.form_url)
        assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert {url for url in asked if not url.endswith("/favicon.ico")} == {scene.form_url}
