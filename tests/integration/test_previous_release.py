"""The last release on the schema of today: its processes do their work, alone and beside those of today."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from chassis.secret import Secret
from chassis.tests.deadlines import until
from deploy.demo.client import Refusal
from deploy.demo.inbox import unsubscribe
from deploy.releases.releases import last_release, releases
from services.sending.tests.site import site_folder
from services.sending.unsubscribe_links import UnsubscribeLinks
from tests.integration.cluster import Cluster, opened_cluster
from tests.integration.released_sources import changed_since, require_in_clone, unpack
from tests.integration.tenants import sign_up

# One that clients call, one that is called by others, and one that hands mail over.
NEWCOMERS = ("gateway", "suppression", "delivery")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    require_in_clone(last_release())
    with site_folder("flownurture-release-") as folder:
        yield folder


@pytest.fixture(scope="module")
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    unpack(last_release(), folder / "sources")
    async with opened_cluster(folder, folder / "sources") as cluster:
        yield cluster


async def opt_out_link(cluster: Cluster, email: str) -> str:
    """The link in somebody's mail."""
    async with await psycopg.AsyncConnection.connect(cluster.database_url) as connection:
        found = await connection.execute(
            "SELECT organization_id, id, email_digest FROM sending.messages WHERE email = %s", [email]
        )
        ((organization, message, digest),) = await found.fetchall()
    return UnsubscribeLinks([Secret(cluster.secrets.link_key)], cluster.url).url(
        organization, message, bytes(digest)
    )


async def does_its_work(cluster: Cluster, person: str) -> None:
    """Sign up, add a contact, write to them once, and no more after they have opted out."""
    message = {
        "to": person,
        "from_email": "orders@green-grocer.test",
        "subject": "Your receipt",
        "text": "Thank you for two punnets of strawberries.",
    }

    def has_come() -> bool:
        cluster.record.read()
        return any(note.recipient == person for note in cluster.record.taken)

    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as api:
        shop = await sign_up(api)
        await shop.key.post("/v1/contacts", {"email": person})
        await shop.key.post("/v1/messages", message)
        await until(has_come)
        assert (await unsubscribe(api, await opt_out_link(cluster, person))) == 200
        refused = await shop.key.refusal("POST", "/v1/messages", message)
        assert refused == Refusal(409, "suppressed")


@pytest.mark.slow
async def test_the_last_release_works_on_the_schema_of_today_alone_and_beside_new_processes(
    cluster: Cluster,
) -> None:
    await does_its_work(cluster, "ada@example.com")
    for process in NEWCOMERS:
        await cluster.roll(process)
    await cluster.rolled()
    await does_its_work(cluster, "ben@example.com")


def test_migrations_that_were_released_stay_as_they_were() -> None:
    for release in releases():
        require_in_clone(release)
        assert changed_since(release, "services/*/migrations/versions/*.py") == []
