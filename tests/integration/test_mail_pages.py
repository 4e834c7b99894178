"""What stands behind the links of a mail, as people, mail clients and link scanners meet it: over the gateway, out of real mail.

Nothing of it needs a login, a script or a cookie, nor any part of the house but the gateway, suppression and the database.
"""

import asyncio
import json
import re
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from html import unescape
from os import urandom
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from playwright.async_api import Browser, Page, ViewportSize

from deploy.demo.waiting import until
from gateway.answers import CONTENT_SECURITY_POLICY
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
from tests.integration.mail_scene import Scene
from tests.integration.second_processes import second_gateway, second_suppression
from tests.integration.tenants import import_contacts, sign_up

CURL = shutil.which("curl")
PEOPLE = ("ada", "bob", "choosy", "curl", "socket", "scanned", "deleted", "rotated", "alone", "light", "dark")
ONE_CLICK = b"List-Unsubscribe=One-Click"
# Programs that follow every link of a mail before its reader sees it.
SCANNERS = (
    "Mozilla/5.0 (compatible; Microsoft-Safe-Links/1.0)",
    "BarracudaCentral/1.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Mimecast-URL-Protect",
    "GoogleImageProxy",
)
_FORGET_CAMPAIGNS = (
    "DELETE FROM sending.messages WHERE organization_id = %s",
    "DELETE FROM sending.batches WHERE organization_id = %s",
    "DELETE FROM sending.campaigns WHERE organization_id = %s",
)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def scene(house: House) -> AsyncIterator[Scene]:
    async with (
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mailbox,
    ):
        scene = Scene(house, api, await sign_up(api), mailbox)
        scene.addresses.update({name: f"{name}.{uuid4().hex}@example.test" for name in PEOPLE})
        await scene.write_to(*PEOPLE)
        scene.letters.update({name: await scene.letter(email) for name, email in scene.addresses.items()})
        yield scene


async def heading(page: Page) -> str:
    return await page.get_by_role("heading", level=1).inner_text()


async def press(page: Page, button: str | None = None) -> str:
    """Press the button, the only one unless it is named; what is said then."""
    found = page.get_by_role("button", name=button)
    assert await found.count() == 1
    await found.click()
    return await heading(page)


@needs_chromium
async def test_a_person_opts_out_by_one_button_and_the_next_campaign_is_vetoed(
    scene: Scene, browser: Browser
) -> None:
    async with reader(browser, PHONE) as page:
        await page.goto(scene.letters["ada"].one_click)
        assert await heading(page) == "Unsubscribe from this sender?"
        # Looking is not leaving.
        await page.reload()
        assert await scene.reasons("ada") == []
        await keep(page, "phone-7-unsubscribe")
        assert await press(page) == "You are unsubscribed"
        assert await scene.reasons("ada") == ["unsubscribe"]
        assert await page.context.cookies() == []
    campaign_id = await scene.write_to("ada", "bob")
    assert await scene.fate(campaign_id, "ada") == ("vetoed", "unsubscribe")
    assert (await scene.fate(campaign_id, "bob"))[0] == "sent"


@needs_chromium
async def test_a_person_leaves_and_comes_back_by_the_page_of_preferences_and_a_mail(
    scene: Scene, browser: Browser
) -> None:
    mails = len(
        (await scene.mailbox.get("/api/messages", params={"to": scene.addresses["bob"]})).json()["messages"]
    )
    async with reader(browser, PHONE) as page:
        await page.goto(scene.letters["bob"].preferences)
        assert await heading(page) == "Your mail preferences"
        assert await press(page) == "You are unsubscribed"
        assert await scene.reasons("bob") == ["unsubscribe"]
        await page.goto(scene.letters["bob"].preferences)
        assert "You are unsubscribed" in await page.get_by_role("status").inner_text()
        await keep(page, "phone-8-preferences")
        assert await press(page) == "Please check your inbox"
        confirmation = await scene.letter(scene.addresses["bob"], mails=mails + 1)
        assert confirmation.mail["List-Unsubscribe"] is None
        # A mail that was only sent changes nothing, nor does looking at what it leads to.
        await page.goto(confirmation.preferences)
        await page.reload()
        assert await scene.reasons("bob") == ["unsubscribe"]
        assert await press(page) == "You are subscribed again"
        assert await scene.reasons("bob") == []
        assert await page.context.cookies() == []
    campaign_id = await scene.write_to("bob")
    assert (await scene.fate(campaign_id, "bob"))[0] == "sent"


@needs_chromium
async def test_a_person_leaves_one_list_and_nobody_but_them_puts_them_back(
    scene: Scene, browser: Browser
) -> None:
    recipes = await scene.public_list("Recipes", "choosy")
    contact = await scene.contact("choosy")
    async with reader(browser, PHONE) as page:
        await page.goto(scene.letters["choosy"].preferences)
        # The list that the mail went to is internal, and stays so.
        assert await page.get_by_role("checkbox").count() == 1
        await page.get_by_label("Recipes").uncheck()
        await keep(page, "phone-9-lists")
        assert await press(page, "Save") == "Your mail preferences"
        assert "Your choice is saved" in await page.get_by_role("status").inner_text()
        assert not await page.get_by_label("Recipes").is_checked()

        again = {"email": scene.addresses["choosy"], "list_ids": [recipes]}
        await scene.shop.key.post("/v1/contacts/batch", {"contacts": [again]})
        row = f"email\n{scene.addresses['choosy']}\n".encode()
        await import_contacts(scene.shop.key, row, json.dumps({"list_id": recipes}))
        assert recipes not in (await scene.contact("choosy"))["list_ids"]
        assert await scene.reasons("choosy") == []

        await page.goto(scene.letters["choosy"].preferences)
        await page.get_by_label("Recipes").check()
        await press(page, "Save")
        assert await page.get_by_label("Recipes").is_checked()
    assert recipes in (await scene.contact("choosy"))["list_ids"]
    events = (await scene.shop.key.get(f"/v1/contacts/{contact['id']}/events"))["events"]
    assert [(event["type"], event["source"]) for event in events if event["source"] == "preferences"] == [
        ("list_joined", "preferences"),
        ("list_left", "preferences"),
    ]


async def by_curl(url: str) -> bytes:
    """As RFC 8058 says it, by a program that knows no more than that; answers the whole of what came back."""
    process = await asyncio.create_subprocess_exec(
        *(str(CURL), "--silent", "--include", "--request", "POST", "--data", ONE_CLICK.decode(), url),
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    return answer


async def by_socket(url: str) -> bytes:
    """The same, said by hand."""
    place = urlsplit(url)
    reading, writing = await asyncio.open_connection(place.hostname, place.port)
    writing.write(
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(ONE_CLICK)}\r\n\r\n".encode()
        + ONE_CLICK
    )
    answer = await reading.read()
    writing.close()
    return answer


async def test_a_plain_post_opts_out_once_and_again_without_a_redirect_or_a_cookie(scene: Scene) -> None:
    await opts_out_by(by_socket, scene, "socket")


@pytest.mark.skipif(CURL is None, reason="there is no curl")
async def test_curl_opts_out_once_and_again_without_a_redirect_or_a_cookie(scene: Scene) -> None:
    await opts_out_by(by_curl, scene, "curl")


async def opts_out_by(post: Callable[[str], Awaitable[bytes]], scene: Scene, name: str) -> None:
    for _ in range(2):
        header, _, body = (await post(scene.letters[name].one_click)).partition(b"\r\n\r\n")
        assert header.split(b"\r\n")[0].split()[1] == b"200"
        assert b"set-cookie" not in header.lower()
        assert b"location" not in header.lower()
        assert b"You are unsubscribed" in body
        assert await scene.reasons(name) == ["unsubscribe"]


async def test_whoever_follows_every_link_before_its_reader_changes_nothing(scene: Scene) -> None:
    letter = scene.letters["scanned"]
    ours = {link for link in letter.links if link.startswith(scene.house.gateway_url)}
    assert {urlsplit(link).path.split("/")[1] for link in ours} == {"u", "p", "t"}
    seen: set[str] = set()
    while waiting := ours - seen:
        seen |= waiting
        for link in waiting:
            for scanner in SCANNERS:
                for verb in ("GET", "HEAD"):
                    answer = await scene.api.request(verb, link, headers={"User-Agent": scanner})
                    assert answer.status_code in (200, 302), (verb, link)
                    assert "set-cookie" not in answer.headers
                    hrefs = {unescape(href) for href in re.findall(r'(?:href|action)="([^"]+)"', answer.text)}
                    ours |= {str(httpx.URL(link).join(href)) for href in hrefs}
    assert await scene.reasons("scanned") == []
    assert (await scene.contact("scanned"))["status"] == "subscribed"


async def test_links_work_for_a_contact_and_a_campaign_that_are_gone(scene: Scene) -> None:
    # Another shop, since all of its campaigns go.
    closing = Scene(scene.house, scene.api, await sign_up(scene.api), scene.mailbox)
    closing.addresses["eve"] = f"eve.{uuid4().hex}@example.test"
    await closing.write_to("eve")
    letter = await closing.letter(closing.addresses["eve"])
    await closing.shop.key.delete(f"/v1/contacts/{(await closing.contact('eve'))['id']}")
    with psycopg.connect(scene.house.facts["database_url"]) as connection:
        for forget in _FORGET_CAMPAIGNS:
            connection.execute(forget, [closing.shop.organization_id])
    assert "You get mail from this sender" in (await scene.api.get(letter.preferences)).text
    assert "You are unsubscribed" in (await scene.api.post(letter.one_click, content=ONE_CLICK)).text
    assert await closing.reasons("eve") == ["unsubscribe"]
    assert "You are unsubscribed" in (await scene.api.get(letter.preferences)).text
    # Nobody knows the address any more to which a confirmation could go.
    asked = await scene.api.post(letter.preferences, data={"choice": "subscribe"})
    assert "check your inbox" in asked.text
    assert await closing.reasons("eve") == ["unsubscribe"]


async def test_links_that_a_retired_key_signed_go_on_working(scene: Scene) -> None:
    letter, fresh = scene.letters["rotated"], b64encode(urandom(32)).decode()
    keys = json.dumps([fresh, scene.house.secrets.link_key])
    async with (
        second_suppression(scene.house, LINK_KEYS=keys) as suppression,
        second_gateway(scene.house, SUPPRESSION_TARGET=suppression) as gateway,
        httpx.AsyncClient(base_url=gateway, timeout=30) as api,
    ):
        assert "Your mail preferences" in (await api.get(urlsplit(letter.preferences).path)).text
        assert (await api.post(urlsplit(letter.one_click).path, content=ONE_CLICK)).status_code == 200
    assert await scene.reasons("rotated") == ["unsubscribe"]


async def test_links_work_while_the_bus_and_all_other_services_are_down(scene: Scene) -> None:
    letter = scene.letters["alone"]
    with scene.house.without("nats", "contacts", "sending", "identity"):
        assert (await scene.api.get(letter.one_click)).status_code == 200
        assert "cannot be shown at the moment" in (await scene.api.get(letter.preferences)).text
        assert (await scene.api.post(letter.one_click, content=ONE_CLICK)).status_code == 200
        assert "You are unsubscribed" in (await scene.api.get(letter.preferences)).text

    async def is_whole() -> bool:
        return await asyncio.to_thread(scene.house.is_whole)

    assert await until(is_whole, bool, seconds=60)
    assert await scene.reasons("alone") == ["unsubscribe"]

    async def status() -> str:
        return str((await scene.contact("alone"))["status"])

    # Whoever could not hear of it then does.
    assert await until(status, lambda seen: seen == "unsubscribed", seconds=60) == "unsubscribed"


@needs_chromium
@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", PHONE), ("dark", DESKTOP)], ids=["light-phone", "dark-desktop"]
)
async def test_no_page_shuts_anybody_out_leaves_the_screen_or_loads_anything(
    scene: Scene, browser: Browser, scheme: Literal["light", "dark"], viewport: ViewportSize
) -> None:
    letter = scene.letters[scheme]
    await scene.public_list("Recipes", scheme)
    await scene.public_list("What is ripe, and where it grows, in as many words as " + "a" * 60, scheme)
    async with reader(browser, viewport, scripts=True) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        async def judge(title: str) -> None:
            assert title in await heading(page)
            assert await page.title()
            assert await page.locator("html").get_attribute("lang") == "en"
            assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert await barriers(page) == []

        await page.emulate_media(color_scheme=scheme)
        await page.goto(letter.one_click)
        await judge("Unsubscribe from this sender?")
        await page.goto(letter.preferences)
        await judge("Your mail preferences")
        await press(page, "Save")
        await judge("Your mail preferences")
        await press(page, "Unsubscribe from everything")
        await judge("You are unsubscribed")
        await page.goto(letter.preferences)
        await judge("Your mail preferences")
        await press(page)
        await judge("Please check your inbox")
        await page.goto((await scene.letter(scene.addresses[scheme], mails=2)).preferences)
        await judge("Get mail from this sender again?")
        await press(page)
        await judge("You are subscribed again")
        links = {letter.one_click, letter.preferences, page.url}
        assert {url for url in asked if not url.endswith("/favicon.ico")} == links


async def test_every_page_says_that_nothing_of_it_may_run_load_or_be_framed(scene: Scene) -> None:
    letter = scene.letters["scanned"]
    for link in (letter.one_click, letter.preferences):
        answer = await scene.api.get(link)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "<script" not in answer.text
