"""Kill any part of the house in the middle of a campaign: nobody gets it twice, nobody is missing from the count.

Each part that mail goes through dies alone in `services/sending/tests/test_kills.py`; here it is about the house that starts it again.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from deploy.demo.client import Client, Json
from deploy.demo.inbox import Inbox
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant, import_contacts, sign_up

# Who dies together: those without whom the campaign goes on, those who lead it as far as delivery, and each of those who have it in hand.
VICTIMS = (
    ("gateway", "identity", "feedback", "workflows", "webhooks", "integrations", "redis"),
    ("contacts", "sending", "suppression"),
    ("delivery",),
    ("mailbox",),
    ("nats",),
    ("postgres",),
)
READERS = 990
SUPPRESSED = 5
SETTLED = ("sent", "vetoed", "bounced", "failed", "indeterminate")
# What delivery can have in hand: eight connections, ten messages each.
MOST_IN_HAND = 80
# In whose death a message can be in flight: the two ends of the connection, and where it is written down.
LEAVES_DOUBT = {"delivery", "mailbox", "postgres"}
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Audience:
    """A list of contacts, with some who must get nothing and one whose mailbox does not exist."""

    list_id: str
    readers: frozenset[str]
    suppressed: frozenset[str]
    bouncing: str

    @property
    def everybody(self) -> frozenset[str]:
        """All contacts."""
        return self.readers | self.suppressed | {self.bouncing}


async def gather_audience(key: Client) -> Audience:
    run = uuid4().hex[:8]
    readers = frozenset(f"reader{number}.{run}@example.test" for number in range(READERS))
    suppressed = frozenset(f"gone{number}.{run}@example.test" for number in range(SUPPRESSED))
    list_id = (await key.post("/v1/lists", {"name": "Newsletter"}))["id"]
    audience = Audience(list_id, readers, suppressed, f"bounce+{run}@example.test")
    rows = "\n".join(("email", *sorted(audience.everybody)))
    imported = await import_contacts(key, rows.encode(), json.dumps({"list_id": list_id}))
    assert imported["created_contacts"] == len(audience.everybody)
    for email in suppressed:
        await key.post("/v1/suppressions", {"email": email, "reason": "manual"})
    return audience


async def launch(key: Client, audience: Audience, subject: str) -> str:
    campaign = await key.post(
        "/v1/campaigns",
        {
            "name": subject,
            "subject": subject,
            "from_email": "news@green-grocer.test",
            "text": "Strawberries!",
            "audience": {"list_ids": [audience.list_id]},
        },
    )
    await key.post(f"/v1/campaigns/{campaign['id']}/launch")
    return str(campaign["id"])


async def completed(key: Client, campaign: str) -> Json:
    async def look() -> Json:
        return await key.get(f"/v1/campaigns/{campaign}/report")

    report = await until(look, lambda seen: seen["status"] != "sending", seconds=PATIENCE_SECONDS)
    assert report["status"] == "completed", report
    return report


@pytest.mark.parametrize("victims", VICTIMS, ids=" ".join)
async def test_killing_parts_of_the_house_in_mid_campaign_sends_nothing_twice_and_loses_nobody(
    house: House, api: httpx.AsyncClient, victims: tuple[str, ...]
) -> None:
    shop: Tenant = await sign_up(api)
    audience = await gather_audience(shop.key)
    subject = f"The first strawberries ({uuid4().hex})"
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30, verify=False) as mail:

        async def arrived() -> int:
            return int((await mail.get("/api/count", params={"subject": subject})).json()["count"])

        async def is_back() -> bool:
            alive = all(house.pid(victim) not in (None, pid) for victim, pid in dead.items())
            return alive and await asyncio.to_thread(house.is_whole)

        campaign = await launch(shop.key, audience, subject)
        assert await until(arrived, bool, seconds=30, pause=0.01)
        dead = {victim: house.kill(victim) for victim in victims}
        if "mailbox" not in victims:
            assert await arrived() < READERS, "the campaign was over before the kill"

        report = await completed(shop.key, campaign)
        assert await until(is_back, bool, seconds=PATIENCE_SECONDS)
        copies = Counter(to for message in await Inbox(mail).mail_about(subject) for to in message.recipients)

    messages = await shop.key.every(f"/v1/campaigns/{campaign}/messages", "messages")
    outcomes = {message["to"]: message["status"] for message in messages}
    assert len(messages) == len(outcomes) == report["audience"] == len(audience.everybody)
    assert outcomes.keys() == audience.everybody
    assert {name: report[name] for name in SETTLED} == {
        name: Counter(outcomes.values())[name] for name in SETTLED
    }

    in_doubt = {person for person, outcome in outcomes.items() if outcome == "indeterminate"}
    assert len(in_doubt) <= (0 if LEAVES_DOUBT.isdisjoint(victims) else MOST_IN_HAND)
    assert {outcomes[person] for person in audience.suppressed} == {"vetoed"}
    assert {outcomes[person] for person in audience.readers - in_doubt} == {"sent"}
    assert outcomes[audience.bouncing] in ("bounced", *(["indeterminate"] if in_doubt else []))
    assert {person: copies[person] for person in audience.readers - in_doubt} == dict.fromkeys(
        audience.readers - in_doubt, 1
    )
    assert all(copies[person] <= 1 for person in in_doubt)
    assert copies.keys() <= audience.readers
