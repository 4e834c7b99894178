"""A platform is backed up in mid-campaign and lost; what comes back in empty servers is what it was, and sends nothing twice."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pyrage
import pytest
import redis

from deploy.database.bootstrap import url_in
from deploy.demo.client import Client, Json
from deploy.demo.inbox import Inbox
from deploy.demo.waiting import until
from deploy.local.premises import Premises
from deploy.local.secrets import Secrets
from deploy.local.servers.program import Server, start, stop
from deploy.local.servers.unprivileged import remove_outside
from deploy.local.state import StateFolder
from services.sending.restoration import DOUBT_WHAT_WAS_OPEN
from tests.integration.conftest import house_folder, opened_house
from tests.integration.house import House
from tests.integration.operator_commands import (
    Ended,
    flownurture,
    key_variables,
    premises_of,
    variables_of_servers,
)
from tests.integration.tenants import Tenant, authorization, import_contacts, make_key, sign_up, subscribe

READERS = 30
PATIENCE_SECONDS = 60
PARK = """
    INSERT INTO contacts.dead_letters (process, stream, subject, envelope, deliveries, error)
    VALUES ('contacts', 'SUPPRESSION', 'flownurture.suppression.addresses_suppressed', '\\xff', 8, %s)
"""
TABLES = """
    SELECT format('%%I.%%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND nspname = ANY(%s)
"""
CAMPAIGN = "SELECT status FROM sending.campaigns WHERE id = %s"
MAIL = "SELECT DISTINCT status FROM sending.messages WHERE campaign_id = %s AND status <> 'vetoed'"
WORKFLOWS = "SELECT status FROM sending.workflows WHERE organization_id = %s"
SCHEMAS = ["identity", "contacts", "sending", "webhooks", "integrations"]
# What is over, since it may have been over when the platform was lost.
ENDED = ("identity.sessions", "identity.refresh_tokens", "identity.account_tokens")


@dataclass(frozen=True)
class Backup:
    """A backup of the shared house, who opens it, and what was going on in it when it was taken."""

    file: Path
    identity: Path
    said: Json
    shop: Tenant
    revoked: str
    campaign: str
    subject: str
    suppressed: frozenset[str]
    readers: frozenset[str]
    parked: str
    super_admin: Json
    sent_before_the_loss: Counter[str]


@dataclass(frozen=True)
class Site:
    """Empty servers for the platform to come back in, and what an operator knows of them."""

    premises: Premises
    variables: dict[str, str]
    servers: ExitStack

    async def restore(self, backup: Backup, *options: str | Path, **variables: str) -> Ended:
        """Restore, with other variables where they are given."""
        identity = () if "--identity" in options else ("--identity", backup.identity)
        return await flownurture(
            "restore", "--json", *identity, *options, *(() if _has_file(options) else (backup.file,)),
            **self.variables | variables,
        )  # fmt: skip

    def empty(self) -> None:
        """Leave nothing of what was restored before."""
        with psycopg.connect(self.premises.admin_url.reveal(), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS flownurture")

    def databases(self) -> set[str]:
        """Which databases there are."""
        with psycopg.connect(self.premises.admin_url.reveal()) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def rows(self) -> dict[str, int]:
        """The rows of each table."""
        with self.database() as connection:
            names = [name for (name,) in connection.execute(TABLES, [SCHEMAS])]
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # type: ignore[index]
                for name in names
            }

    def statuses(self, shop: Tenant) -> Counter[tuple[str, str]]:
        """How many messages of an organization are of which category and status."""
        with self.database() as connection:
            query = "SELECT category, status FROM sending.messages WHERE organization_id = %s"
            return Counter(connection.execute(query, [shop.organization_id]).fetchall())

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """The platform's database, as its administrator."""
        with psycopg.connect(url_in(self.premises.admin_url, "flownurture").reveal()) as connection:
            yield connection


def _has_file(options: tuple[str | Path, ...]) -> bool:
    return any(isinstance(option, Path) and option.suffix == ".age" for option in options)


@pytest.fixture(scope="module")
async def backup(house: House, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """Taken by a role that may only read, while the relay does not answer; then it does, and the campaign goes out."""
    folder = tmp_path_factory.mktemp("backup")
    async with (
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
        httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mail,
    ):
        shop = await sign_up(api)
        await subscribe(api, shop, "pro")
        run, subject = uuid4().hex[:8], f"Before the flood {uuid4().hex}"
        readers = frozenset(f"reader{number}.{run}@example.test" for number in range(READERS))
        list_id = (await shop.key.post("/v1/lists", {"name": "News"}))["id"]
        rows = "\n".join(("email", *readers)).encode()
        await import_contacts(shop.key, rows, f'{{"list_id": "{list_id}"}}')
        suppressed = frozenset(sorted(readers)[:3])
        for email in suppressed:
            await shop.key.post("/v1/suppressions", {"email": email, "reason": "manual"})
        # What is sealed: the secret that its posts are signed with.
        await shop.owner.post(
            "/v1/webhook-endpoints", {"url": "http://127.0.0.1:9999/", "event_types": ["contact.created"]}
        )
        revoked = await make_key(shop.owner, ["contacts:read"])
        await shop.owner.delete(f"/v1/api-keys/{revoked['api_key']['id']}")
        parked = f"ValueError: {uuid4()}"
        with psycopg.connect(house.facts["database_url"], autocommit=True) as connection:
            connection.execute(PARK, [parked])
        with house.without("mailbox"):
            campaign = await _launch(shop.key, list_id, subject)
            for number in range(2):
                await _order(shop.key, f"single{number}.{run}@example.test", subject)
            await until(
                lambda: _open(shop.key, campaign),
                lambda open_now: open_now == READERS - 3,
                seconds=PATIENCE_SECONDS,
            )
            identity = pyrage.x25519.Identity.generate()
            (folder / "key.txt").write_text(f"# of the operators\n{identity}\n")
            with _reader(house.facts["database_url"]) as url:
                taken = await flownurture(
                    "backup", folder / "of-today.age", "--to", str(identity.to_public()), "--json",
                    "--metrics", folder / "backup.prom",
                    programs=str(premises_of(house).postgres.programs / "bin"), DATABASE_ADMIN_URL=url,
                )  # fmt: skip

        assert await until(lambda: asyncio.to_thread(house.is_whole), bool, seconds=PATIENCE_SECONDS)

        async def copies() -> Counter[str]:
            return Counter(
                to for message in await Inbox(mail).mail_about(subject) for to in message.recipients
            )

        sent = await until(copies, lambda seen: len(seen) == READERS - 3 + 2, seconds=PATIENCE_SECONDS)
        with psycopg.connect(house.facts["database_url"], autocommit=True) as connection:
            connection.execute("DELETE FROM contacts.dead_letters WHERE error = %s", [parked])
    return Backup(
        folder / "of-today.age", folder / "key.txt", taken.json, shop, revoked["secret"], campaign, subject,
        suppressed, readers, parked, house.facts["super_admin"], sent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(house: House) -> Iterator[Site]:
    """Servers with nothing in them, and the secrets of the platform that was lost, which were kept elsewhere."""
    state = StateFolder(house_folder())
    shutil.copy(house.state.secrets, _made(state.secrets.parent))
    premises = Premises.chosen(state, {"FLOWNURTURE_PORTS": "free"})
    servers: tuple[Server, ...] = (premises.postgres, premises.nats, premises.redis)
    try:
        with ExitStack() as stack:
            for server in servers:
                stack.callback(stop, start(server))
            yield Site(premises, variables_of_servers(premises), stack)
    finally:
        remove_outside(state.root)
        shutil.rmtree(state.root, ignore_errors=True)


async def test_a_backup_says_what_is_in_it_to_who_takes_it_and_opens_for_the_holders_of_keys_alone(
    backup: Backup, site: Site
) -> None:
    verified = await flownurture(
        "verify", backup.file, "-i", backup.identity, "--json", programs=site.variables["programs"]
    )
    assert verified.json["rows"] == backup.said["rows"]
    assert backup.said["rows"]["identity.organizations"] >= 2
    assert backup.said["size"] == backup.file.stat().st_size
    assert b"flownurture_backup_last_success_seconds" in (backup.file.parent / "backup.prom").read_bytes()
    content = backup.file.read_bytes()
    assert not any(email.encode() in content for email in backup.readers)


async def test_what_is_damaged_or_for_others_is_not_restored_and_nothing_is_changed(
    backup: Backup, site: Site, tmp_path: Path
) -> None:
    before = site.databases()
    whole = backup.file.read_bytes()
    damaged = tmp_path / "damaged.age"
    damaged.write_bytes(whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:])
    endings = await asyncio.gather(
        site.restore(backup, damaged),
        site.restore(backup, "--identity", _identity(tmp_path / "stranger.txt")),
    )
    assert [ending.code for ending in endings] == [3, 3], [ending.err for ending in endings]
    assert site.databases() == before


async def test_keys_that_do_not_open_what_is_sealed_are_told_before_anything_is_restored(
    backup: Backup, site: Site
) -> None:
    others = Secrets.generate().key_encryption_keys
    before = site.databases()
    refused = await site.restore(backup, **key_variables({"webhooks": others["webhooks"]}))
    assert refused.code == 3
    assert "webhooks" in refused.err
    assert site.databases() == before


async def test_a_platform_that_was_stopped_before_its_backup_comes_back_row_for_row(
    backup: Backup, site: Site
) -> None:
    restored = await site.restore(backup, "--nothing-happened-since")
    assert restored.json["keys"]["not_given"] == []
    # One more: the lease of nobody, by which sending is held.
    assert site.rows() == backup.said["rows"] | {
        "sending.delivery_leases": backup.said["rows"]["sending.delivery_leases"] + 1
    }
    assert site.statuses(backup.shop) == {
        ("marketing", "queued"): READERS - 3,
        ("marketing", "vetoed"): 3,
        ("transactional", "queued"): 2,
    }
    _leaves_to_people_what_it_cannot_know(backup, site)
    rows = site.rows()
    again = await site.restore(backup, "--nothing-happened-since")
    assert again.code == 3
    assert "has rows" in again.err
    assert site.rows() == rows
    site.empty()


def _leaves_to_people_what_it_cannot_know(backup: Backup, site: Site) -> None:
    """What becomes of a campaign and its mail, and of a workflow, by what they were when the backup was taken."""
    became = {
        "status = 'sending', audience_complete = false": ("paused", "indeterminate"),
        "status = 'sending'": ("sending", "indeterminate"),
        "status = 'paused'": ("paused", "indeterminate"),
        "status = 'scheduled', send_at = now() - interval '1 second'": ("draft", "indeterminate"),
        "status = 'scheduled', send_at = now() + interval '1 hour'": ("scheduled", "indeterminate"),
        # Nothing of it was claimed any more.
        "status = 'cancelled'": ("cancelled", "queued"),
    }
    shop, campaign = backup.shop.organization_id, backup.campaign
    with site.database() as connection:
        for was, expected in became.items():
            with connection.transaction(force_rollback=True):
                connection.execute(f"UPDATE sending.campaigns SET {was} WHERE id = '{campaign}'".encode())
                connection.execute(
                    "INSERT INTO sending.workflows (organization_id, id, name, status, version) "
                    "VALUES (%s, uuidv7(), 'Welcome', 'active', 1)",
                    [shop],
                )
                for statement in DOUBT_WHAT_WAS_OPEN:
                    connection.execute(statement.encode())
                [status] = connection.execute(CAMPAIGN, [campaign]).fetchone() or ()
                [(of_mail,)] = connection.execute(MAIL, [campaign]).fetchall()
                assert (status, of_mail) == expected, was
                assert connection.execute(WORKFLOWS, [shop]).fetchall() == [("paused",)]


async def test_redis_and_the_event_bus_have_to_be_empty_too(backup: Backup, site: Site) -> None:
    with redis.Redis.from_url(site.variables["REDIS_URL"]) as connection:
        connection.set("left", "over")
        refused = await site.restore(backup)
        assert refused.code == 3
        assert "Redis holds 1 keys" in refused.err
        connection.flushall()
    assert "flownurture" not in site.databases()


async def test_a_lost_platform_comes_back_and_sends_to_nobody_what_may_have_gone_out_after_its_backup(
    backup: Backup, site: Site
) -> None:
    await site.restore(backup)
    rows = site.rows()
    expected = backup.said["rows"] | dict.fromkeys(ENDED, 0)
    assert {name: rows[name] for name in rows if name != "sending.delivery_leases"} == {
        name: expected[name] for name in expected if name != "sending.delivery_leases"
    }
    assert site.statuses(backup.shop) == {
        ("marketing", "indeterminate"): READERS - 3,
        ("marketing", "vetoed"): 3,
        ("transactional", "queued"): 2,
    }
    site.servers.close()
    with opened_house(site.premises.state.root) as house:
        async with (
            httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api,
            httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mail,
        ):
            await _is_as_it_was(backup, api)
            await _sends_what_is_waited_for_and_nothing_else(backup, site, api, mail)


async def _is_as_it_was(backup: Backup, api: httpx.AsyncClient) -> None:
    """Credentials, the list and what was given up, with a Redis that knows of nobody."""
    shop, key = backup.shop, Client(api, backup.shop.secret)
    login = await Client(api).post("/v1/auth/login", {"email": shop.email, "password": shop.password})
    assert login["access_token"]
    for refused in (backup.revoked, shop.access_token):
        assert (await api.get("/v1/contacts", headers=authorization(refused))).status_code == 401
    assert {
        entry["email"] for entry in await key.every("/v1/suppressions", "suppressions")
    } == backup.suppressed
    contacts = await key.every("/v1/contacts", "contacts")
    assert {contact["email"] for contact in contacts} >= backup.readers
    operator = Client(api, (await Client(api).post("/v1/auth/login", backup.super_admin))["access_token"])
    letters = await operator.every("/v1/admin/dead-letters", "dead_letters")
    assert backup.parked in {letter["error"] for letter in letters}


async def _sends_what_is_waited_for_and_nothing_else(
    backup: Backup, site: Site, api: httpx.AsyncClient, mail: httpx.AsyncClient
) -> None:
    key = Client(api, backup.shop.secret)
    # Of two that wait one opts out while sending is held: it has not been begun.
    stays, leaves = sorted(to for to in backup.sent_before_the_loss if to.startswith("single"))
    await key.post("/v1/suppressions", {"email": leaves, "reason": "manual"})
    released = await flownurture("release", "--json", **site.variables)
    assert released.json == {"released": True}

    async def report() -> Json:
        return await key.get(f"/v1/campaigns/{backup.campaign}/report")

    over = await until(report, lambda seen: seen["status"] == "completed", seconds=PATIENCE_SECONDS)
    assert (over["status"], over["indeterminate"], over["vetoed"]) == ("completed", READERS - 3, 3)

    async def copies() -> Counter[str]:
        return Counter(
            to for message in await Inbox(mail).mail_about(backup.subject) for to in message.recipients
        )

    async def of_singles() -> Counter[tuple[str, str]]:
        with site.database() as connection:
            found = connection.execute(
                "SELECT email, status FROM sending.messages WHERE email = ANY(%s)", [[stays, leaves]]
            )
            return Counter(found.fetchall())

    settled = {(stays, "sent"): 1, (leaves, "vetoed"): 1}
    assert await until(of_singles, lambda seen: seen == settled, seconds=PATIENCE_SECONDS) == settled
    assert await copies() == {stays: 1}


async def _launch(key: Client, list_id: str, subject: str) -> str:
    campaign = await key.post(
        "/v1/campaigns",
        {
            "name": subject,
            "subject": subject,
            "from_email": "news@green-grocer.test",
            "text": "Strawberries!",
            "audience": {"list_ids": [list_id]},
        },
    )
    await key.post(f"/v1/campaigns/{campaign['id']}/launch")
    return str(campaign["id"])


async def _order(key: Client, to: str, subject: str) -> None:
    await key.post(
        "/v1/messages",
        {
            "to": to,
            "from_email": "shop@green-grocer.test",
            "subject": subject,
            "text": "Your order",
            "category": "transactional",
        },
    )


async def _open(key: Client, campaign: str) -> int:
    report = await key.get(f"/v1/campaigns/{campaign}/report")
    return int(report["approved"])


@contextmanager
def _reader(database_url: str) -> Iterator[str]:
    """A role that may read everything and write nothing, as the runbook makes it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE backup LOGIN BYPASSRLS PASSWORD 'of a test' IN ROLE pg_read_all_data")
        connection.execute("GRANT CONNECT ON DATABASE flownurture TO backup")
        try:
            host = urlsplit(database_url).netloc.rpartition("@")[2]
            yield f"postgresql://backup:of%20a%20test@{host}/postgres"
        finally:
            connection.execute("DROP OWNED BY backup")
            connection.execute("DROP ROLE backup")


def _identity(path: Path) -> Path:
    path.write_text(str(pyrage.x25519.Identity.generate()))
    return path


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
