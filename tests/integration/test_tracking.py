"""A mail is opened and left by its links, through the gateway, and the report says so."""

import re
from email import message_from_bytes, policy
from uuid import uuid4

import httpx
import pytest

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant, problem, sign_up

PLUMS = "https://green-grocer.test/plums?ripe=yes&kind=blue"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"}


@pytest.fixture
async def shop(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


async def campaign_of(shop: Tenant, reader: str) -> str:
    """A campaign that is on its way to somebody."""
    friends = await shop.key.post("/v1/lists", {"name": "Friends"})
    await shop.key.post("/v1/contacts", {"email": reader, "list_ids": [friends["id"]]})
    campaign = await shop.key.post(
        "/v1/campaigns",
        {
            "name": "Plums",
            "subject": "Plums",
            "from_email": "letters@green-grocer.test",
            "html": f'<body><a href="{PLUMS.replace("&", "&amp;")}">Plums</a></body>',
            "audience": {"list_ids": [friends["id"]]},
        },
    )
    await shop.key.post(f"/v1/campaigns/{campaign['id']}/launch", {})
    return str(campaign["id"])


async def html_of(house: House, reader: str) -> str:
    """The mail as it was received."""
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30, verify=False) as mailbox:

        async def arrived() -> list[Json]:
            found = await mailbox.get("/api/messages", params={"to": reader})
            messages: list[Json] = found.raise_for_status().json()["messages"]
            return messages

        (message,) = await until(arrived, bool, seconds=30)
        mail = message_from_bytes(
            (await mailbox.get(f"/api/messages/{message['id']}/raw")).content, policy=policy.default
        )
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


async def test_a_pixel_and_a_link_work_for_anybody_and_count_in_the_report(
    house: House, api: httpx.AsyncClient, shop: Tenant
) -> None:
    reader = f"{uuid4().hex}@example.test"
    campaign_id = await campaign_of(shop, reader)
    html = await html_of(house, reader)
    (pixel,) = re.findall(r'src="[^"]+(/t/o/[\w-]+)"', html)
    (link,) = re.findall(r'href="[^"]+(/t/c/[\w-]+)"', html)

    picture = await api.get(pixel, headers=BROWSER)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/gif")
    assert picture.headers["cache-control"] == "no-store"
    # Programs look, too.
    assert (await api.head(pixel, headers=BROWSER)).status_code == 200
    # As soon as this it is counted as a program's, and leads on all the same.
    followed = await api.get(link, headers=BROWSER, follow_redirects=False)
    assert (followed.status_code, followed.headers["location"]) == (302, PLUMS)
    assert followed.headers["referrer-policy"] == "no-referrer"

    async def report() -> Json:
        return await shop.key.get(f"/v1/campaigns/{campaign_id}/report")

    def counted(seen: Json) -> bool:
        return sum(int(seen[kind][of]) for kind in ("opens", "clicks") for of in ("total", "by_bots")) == 3

    seen = await until(report, counted, seconds=30)
    assert seen["opens"] == {"unique": 1, "total": 1, "by_bots": 1}
    (plums,) = seen["links"]
    assert (plums["url"], plums["clicks"]) == (PLUMS, seen["clicks"])
    events = await shop.key.get("/v1/events", campaign_id=campaign_id)
    assert sorted(event["type"] for event in events["events"]) == ["clicked", "opened", "opened"]
    overview = await shop.key.get("/v1/analytics/overview")
    assert (overview["sent"], overview["opens"]) == (1, seen["opens"])


async def test_a_link_that_nobody_signed_leads_nowhere(api: httpx.AsyncClient) -> None:
    for path in ("/t/c/", "/t/o/"):
        problem(await api.get(path + "A" * 80), 404, "not-found")
