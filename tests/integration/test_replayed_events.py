"""Whatever the bus has carried, it may carry again, in any order: the processes' own readers make nothing else of it.

The events of an organization in which people came and went are published once more to the real bus, shuffled and doubled, as a replay after
a loss would at its worst; every process of the house reads them as it reads all others.
"""

import asyncio
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import nats
import psycopg
from nats.js import JetStreamContext

from deploy.demo.client import Client, Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.mail_scene import Scene
from tests.integration.tenants import Tenant, sign_up

ONE_CLICK = b"List-Unsubscribe=One-Click"
PEOPLE = ("ada", "bob", "cleo", "dan", "eve", "fay", "gus")
PUBLISHED = """
    SELECT subject, envelope FROM contacts.outbox WHERE organization_id = %(organization)s
    UNION ALL SELECT subject, envelope FROM sending.outbox WHERE organization_id = %(organization)s
"""


async def live(scene: Scene, shop: Tenant) -> list[str]:
    """People opt out, come back, leave a list, move, bounce and are erased; answers the campaigns of before and after."""
    before = await scene.write_to(*PEOPLE)
    letters = {name: await scene.letter(scene.addresses[name]) for name in PEOPLE if name != "eve"}
    recipes = await scene.public_list("Recipes", "cleo")
    for name in ("ada", "bob", "fay"):
        await scene.api.post(letters[name].one_click, content=ONE_CLICK)
    await scene.api.post(letters["bob"].preferences, data={"choice": "subscribe"})
    confirmation = await scene.letter(scene.addresses["bob"], mails=2)
    await scene.api.post(confirmation.preferences)
    await scene.api.post(letters["cleo"].preferences, data={"choice": "lists", "offered": recipes})
    moved = f"fay.{uuid4().hex}@example.test"
    await shop.key.patch(f"/v1/contacts/{(await scene.contact('fay'))['id']}", {"email": moved})
    await shop.key.delete(f"/v1/contacts/{(await scene.contact('dan'))['id']}")
    scene.addresses["fay"] = moved
    await until(lambda: scene.reasons("fay"), bool, seconds=30)
    return [before, await scene.write_to("ada", "bob", "cleo", "eve", "fay", "gus")]


async def seen(scene: Scene, campaigns: list[str]) -> dict[str, Any]:
    """All that could be otherwise afterwards."""
    key = scene.shop.key
    for campaign in campaigns:
        await completed(key, campaign)
    contacts = await key.every("/v1/contacts", "contacts")
    messages = [
        message
        for campaign in campaigns
        for message in await key.every(f"/v1/campaigns/{campaign}/messages", "messages")
    ]
    return {
        "contacts": {each["email"]: (each["status"], sorted(each["list_ids"])) for each in contacts},
        "suppressions": sorted(
            (entry["email"], entry["reason"]) for entry in await key.every("/v1/suppressions", "suppressions")
        ),
        "messages": sorted((message["id"], message["status"]) for message in messages),
        "mails": {name: await mails_to(scene, email) for name, email in scene.addresses.items()},
    }


async def completed(key: Client, campaign: str) -> None:
    async def report() -> Json:
        return await key.get(f"/v1/campaigns/{campaign}/report")

    assert (await until(report, lambda found: found["status"] == "completed", seconds=30))["audience"]


async def mails_to(scene: Scene, email: str) -> int:
    return len((await scene.mailbox.get("/api/messages", params={"to": email})).json()["messages"])


async def is_read(bus: JetStreamContext) -> bool:
    """Whether every reader has settled all that there is."""
    for stream in await bus.streams_info():
        for reader in await bus.consumers_info(str(stream.config.name)):
            if reader.num_pending or reader.num_ack_pending:
                return False
    return True


async def test_events_that_come_again_shuffled_and_doubled_change_nothing_and_send_nothing(
    house: House, api: httpx.AsyncClient, record_property: Any
) -> None:
    shop, random = await sign_up(api), Random(35)
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30, verify=False) as mailbox:
        scene = Scene(house, api, shop, mailbox)
        scene.addresses.update({name: f"{name}.{uuid4().hex}@example.test" for name in PEOPLE})
        scene.addresses["eve"] = f"bounce+{uuid4().hex}@example.test"
        campaigns = await live(scene, shop)
        client = await nats.connect(house.facts["nats_url"])
        bus = client.jetstream()
        # What people did is read by now, and shown.
        assert await until(lambda: is_read(bus), bool, seconds=30)
        before = await seen(scene, campaigns)
        assert {reason for _, reason in before["suppressions"]} == {"unsubscribe", "hard_bounce"}
        with psycopg.connect(house.facts["database_url"]) as connection:
            events: list[Any] = connection.execute(
                PUBLISHED, {"organization": shop.organization_id}
            ).fetchall()
        events += events
        random.shuffle(events)
        await asyncio.gather(*(bus.publish(subject, bytes(envelope)) for subject, envelope in events))
        assert await until(lambda: is_read(bus), bool, seconds=60)
        await client.close()
        assert await seen(scene, campaigns) == before
    record_property(
        "figure", f"events told again, shuffled and doubled: {len(events)}, nothing else came of it"
    )
