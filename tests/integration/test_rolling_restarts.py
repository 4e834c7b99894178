"""A roll-out of every process, one after another, in the midst of a campaign and of clients' calls: nothing fails, and nothing is lost or comes twice.

ROLL_RECIPIENTS sets how many the campaign is sent to.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from time import monotonic

import httpx
import pytest

from chassis.tests.deadlines import until
from deploy.demo.client import Json
from deploy.processes import PROCESSES
from services.sending.tests.recording_relay import Orders
from services.sending.tests.site import site_folder
from tests.integration.clients import CLIENTS, Clients
from tests.integration.cluster import STATEFUL, Cluster, opened_cluster
from tests.integration.slow_upload import SlowUpload
from tests.integration.tenants import (
    SCOPES,
    Tenant,
    finished_import,
    make_key,
    sign_up,
    subscribe,
)

RECIPIENTS = int(os.environ.get("ROLL_RECIPIENTS", "1000"))
UPLOADED = 20
PATIENCE_SECONDS = 60 + RECIPIENTS / 50
# The last one is rolled while all that is left goes out: of all others nothing is asked that they do not begin and end at once.
ORDER = (*(process for process in PROCESSES if process != STATEFUL), STATEFUL)

RecordProperty = Callable[[str, object], None]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with site_folder("flownurture-rolls-") as folder:
        yield folder


@pytest.fixture(scope="module")
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    async with opened_cluster(folder) as cluster:
        yield cluster


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as api:
        yield api


async def launched(shop: Tenant, people: list[str]) -> str:
    """A campaign to these people, under way."""
    readers = await shop.key.post("/v1/lists", {"name": "Readers"})
    content = "\n".join(["email", *people]).encode()
    options = f'{{"list_id": "{readers["id"]}"}}'
    started = await shop.key.upload("/v1/contacts/imports", options, "people.csv", content)

    async def is_imported() -> bool:
        found = await shop.key.get(f"/v1/contacts/imports/{started['id']}")
        return bool(found["status"] == "completed")

    await until(is_imported, PATIENCE_SECONDS, pause=0.1)
    campaign = await shop.key.post(
        "/v1/campaigns",
        {
            "name": "Plums",
            "subject": "Plums",
            "from_email": "letters@green-grocer.test",
            "text": "Plums.",
            "audience": {"list_ids": [readers["id"]]},
        },
    )
    await shop.key.post(f"/v1/campaigns/{campaign['id']}/launch")
    return str(campaign["id"])


async def rolled_out(cluster: Cluster, upload: SlowUpload) -> None:
    """Replace every process, each in the midst of a part of the campaign; the upload lasts for as long as that."""
    for number, process in enumerate(ORDER, 1):
        part = RECIPIENTS * number // len(ORDER)
        cluster.record.order(Orders(sys.maxsize if process == STATEFUL else part))
        await cluster.roll(process)
        await cluster.has_sent(part, PATIENCE_SECONDS)
    upload.go_on()
    await cluster.rolled()


@pytest.mark.slow
async def test_a_rolling_restart_fails_no_request_and_loses_or_repeats_no_message(
    cluster: Cluster, api: httpx.AsyncClient, record_property: RecordProperty
) -> None:
    shop = await sign_up(api)
    await subscribe(api, shop, "enterprise")
    keys = [(await make_key(shop.owner, SCOPES))["secret"] for _ in range(5)]
    people = [f"reader{number}@example.com" for number in range(RECIPIENTS)]
    late = [f"late{number}@example.com" for number in range(UPLOADED)]
    cluster.record.order(Orders(0))
    campaign = await launched(shop, people)
    upload, begun = SlowUpload(cluster.url, shop.secret), monotonic()
    async with Clients(cluster.url, shop.access_token, keys) as clients, asyncio.TaskGroup() as group:
        uploaded = group.create_task(upload.send(late))
        await upload.begun.wait()
        await rolled_out(cluster, upload)
    took = monotonic() - begun
    assert not clients.failures, "\n".join(clients.failures[:20])
    await finished_import(shop.key, uploaded.result())
    contacts = await shop.key.every("/v1/contacts", "contacts")
    assert Counter(each["email"] for each in contacts) == Counter([*people, *late, *clients.contacts])

    async def report() -> Json:
        return await shop.key.get(f"/v1/campaigns/{campaign}/report")

    def taken() -> Counter[str]:
        """How often each has got a mail, but for the mail about the account."""
        cluster.record.read()
        return Counter(note.recipient for note in cluster.record.taken if note.recipient != shop.email)

    async def all_is_told() -> bool:
        everything = RECIPIENTS + len(clients.receivers)
        return (await report())["status"] == "completed" and taken().total() >= everything

    await until(all_is_told, PATIENCE_SECONDS, pause=0.1)
    told = await report()
    assert (told["audience"], told["sent"]) == (RECIPIENTS, RECIPIENTS), told
    assert taken() == Counter([*people, *clients.receivers])
    record_property(
        "figure",
        f"every process rolled in {took:.0f} s of a campaign to {RECIPIENTS:,}: {len(clients.failures)} of {clients.requests:,} requests of "
        f"{CLIENTS} clients failed, the campaign and {len(clients.receivers):,} single messages reached everybody once",
    )
