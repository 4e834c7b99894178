"""An operator's commands, against the running platform."""

import json
import stat
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from typer.testing import CliRunner, Result

from deploy.database.roles import role_list
from deploy.demo.inbox import Inbox
from deploy.demo.waiting import until
from operations.__main__ import app
from tests.integration.house import House
from tests.integration.operator_commands import premises_of, variables_of_servers
from tests.integration.tenants import authorization, import_contacts, sign_up

PARK = """
    INSERT INTO contacts.dead_letters (process, stream, subject, envelope, deliveries, error)
    VALUES ('contacts', 'SUPPRESSION', 'flownurture.suppression.addresses_suppressed', '\\xff', 8, %s) RETURNING id::text
"""


class Operator:
    """Somebody at a terminal, with variables and a home of their own."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self.home = home
        self.variables = {"XDG_CONFIG_HOME": str(home), **variables}

    def run(self, *words: str, typed: str | None = None, **variables: str) -> Result:
        return CliRunner().invoke(app, words, input=typed, env=self.variables | variables)

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def stranger(tmp_path: Path, house: House) -> Operator:
    return Operator(tmp_path, {"FLOWNURTURE_URL": house.gateway_url})


@pytest.fixture
def operator(stranger: Operator, house: House) -> Iterator[Operator]:
    admin = house.facts["super_admin"]
    logged_in = stranger.run("login", admin["email"], FLOWNURTURE_PASSWORD=admin["password"])
    assert logged_in.exit_code == 0, logged_in.stderr
    yield stranger
    assert stranger.run("logout").exit_code == 0


def test_a_log_in_is_kept_where_nobody_else_reads_it_until_it_is_over(
    stranger: Operator, house: House
) -> None:
    admin, kept = house.facts["super_admin"], stranger.home / "flownurture" / "session.json"
    refused = stranger.run("login", admin["email"], FLOWNURTURE_PASSWORD="not the password")
    assert (refused.exit_code, kept.exists()) == (3, False)
    refused = stranger.run("org", "list")
    assert (refused.exit_code, "flownurture login" in refused.stderr) == (3, True)
    stranger.run("login", admin["email"], FLOWNURTURE_PASSWORD=admin["password"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert admin["password"] not in kept.read_text()
    session = json.loads(kept.read_text())
    # One that has expired is renewed, and the new one is kept.
    kept.write_text(json.dumps(session | {"access_token": "expired"}))
    assert stranger.run("org", "list").exit_code == 0
    renewed = json.loads(kept.read_text())
    assert renewed["refresh_token"] != session["refresh_token"]
    token = renewed["access_token"]
    assert stranger.run("logout").exit_code == 0
    assert not kept.exists()
    assert stranger.run("org", "list", FLOWNURTURE_TOKEN=token).exit_code == 3


def test_a_platform_that_does_not_answer_is_told_from_one_that_says_no(stranger: Operator) -> None:
    nowhere = {"FLOWNURTURE_URL": "http://127.0.0.1:1", "FLOWNURTURE_TOKEN": "any"}
    assert stranger.run("org", "list", **nowhere).exit_code == 4
    assert stranger.run("org", "list", FLOWNURTURE_TOKEN="none of theirs").exit_code == 3
    assert stranger.run("org", "show", "no id").exit_code == 2


async def test_an_organization_is_created_for_somebody_who_chooses_the_password(
    operator: Operator, house: House
) -> None:
    email = f"olive.{uuid4().hex}@example.test"
    created = operator.json("org", "create", "Green Grocer", "--owner", email, "--owner-name", "Olive")
    assert operator.json("org", "show", created["id"]) == created
    assert created["id"] in operator.run("org", "list").stdout
    again = operator.run("org", "create", "Green Grocer", "--owner", email, "--owner-name", "Olive")
    assert again.exit_code == 3
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30) as mail:

        async def mailed() -> bool:
            return any(email in found.recipients for found in await Inbox(mail).mail_about("password"))

        assert await until(mailed, bool, seconds=30)


async def test_an_organization_is_suspended_resumed_and_given_a_plan_and_the_trail_says_by_whom(
    operator: Operator, house: House
) -> None:
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        shop = await sign_up(api)

        async def status() -> int:
            return (await api.get("/v1/contacts", headers=authorization(shop.secret))).status_code

        assert operator.json("org", "suspend", shop.organization_id)["suspended"] is True
        assert await status() == 403
        assert operator.json("org", "resume", shop.organization_id)["suspended"] is False
        assert await status() == 200
        assert operator.json("plan", "set", shop.organization_id, "pro")["plan"] == "pro"
        acts = {event["act"] for event in await shop.owner.every("/v1/audit-events", "audit_events")}
        assert acts >= {"organization_suspended", "organization_resumed", "plan_changed"}
        assert operator.run("plan", "set", shop.organization_id, "golden").exit_code == 2
        assert operator.run("plan", "set", str(uuid4()), "pro").exit_code == 3


async def test_an_address_is_looked_up_and_a_message_is_followed_and_the_trail_says_by_whom(
    operator: Operator, house: House
) -> None:
    email, elsewhere = f"ada.{uuid4().hex}@example.test", ("--org", str(uuid4()))
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        shop = await sign_up(api)
        theirs = ("--org", shop.organization_id)
        letter = {"to": email, "from_email": "ada@grocer.test", "subject": "Receipt", "text": "Thank you."}
        message = (await shop.key.post("/v1/messages", letter))["message"]

        async def followed() -> Any:
            return operator.json("message", "trace", message["id"], *theirs)

        found = await until(followed, lambda seen: seen["status"] == "sent", seconds=30)
        stages = [entry["stage"] for entry in found["entries"]]
        assert stages == ["accepted", "released", "approved", "claimed", "handed_over"]
        shown = operator.run("message", "trace", message["id"], *theirs).stdout
        assert all(stage in shown for stage in ("sent after 1 attempts", *stages))

        assert operator.json("suppression", "check", email, *theirs) == {
            "suppressed": False,
            "suppressions": [],
        }
        assert "not on the list" in operator.run("suppression", "check", email, *theirs).stdout
        listed = await shop.key.post("/v1/suppressions", {"email": email, "reason": "manual"})
        assert operator.json("suppression", "check", email, *theirs)["suppressions"] == [listed]
        shown = operator.run("suppression", "check", email, *theirs).stdout
        assert all(word in shown for word in ("manual", listed["added_by"]["id"]))

        assert operator.run("suppression", "check", email, *elsewhere).exit_code == 3
        assert operator.run("message", "trace", message["id"], *elsewhere).exit_code == 3
        assert operator.run("message", "trace", "no id", *theirs).exit_code == 2

        async def looks() -> set[tuple[str, str, str]]:
            events = await shop.owner.every("/v1/audit-events", "audit_events")
            reads = [event for event in events if event["act"] == "operator_read"]
            return {(event["role"], event["after"]["what"], event["target_id"]) for event in reads}

        told = {
            ("SUPER_ADMIN", "message_trace", message["id"]),
            ("SUPER_ADMIN", "suppressions", shop.organization_id),
        }
        assert await until(looks, lambda seen: seen == told, seconds=30) == told


_SHIFT = "UPDATE identity.erasure_requests SET erases_at = now() WHERE organization_id = %s"
_WITH_ORGANIZATION = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id'
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p')
"""


def rows_of(connection: psycopg.Connection, organization_id: str) -> dict[str, int]:
    """How many rows each table of the catalog has of an organization, of those that have any."""
    counts = {}
    for [table] in connection.execute(_WITH_ORGANIZATION, [list(role_list().schemas)]).fetchall():
        counted = connection.execute(
            f"SELECT count(*) FROM {table} WHERE organization_id = %s", [organization_id]
        ).fetchone()
        counts[table] = counted[0] if counted else 0
    return {table: count for table, count in counts.items() if count}


async def test_an_organization_that_is_erased_is_gone_from_every_table_and_everybody_can_see_that_it_is(
    operator: Operator, house: House
) -> None:
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        shop = await sign_up(api)
        await import_contacts(shop.owner, b"email\nada@example.test\neve@example.test\n")
        await shop.owner.post("/v1/suppressions", {"email": "eve@example.test", "reason": "manual"})
        named = ("org", "erase", shop.organization_id)
        name = operator.json("org", "show", shop.organization_id)["name"]
        assert operator.run(*named, typed="Another\n").exit_code == 3
        assert "erasure" not in operator.json("org", "show", shop.organization_id)
        assert operator.run(*named, typed=f"{name}\n").exit_code == 0
        refused = (await api.get("/v1/contacts", headers=authorization(shop.secret))).status_code
        assert refused == 403
        assert operator.run("org", "resume", shop.organization_id).exit_code == 3
        assert operator.json("org", "keep", shop.organization_id)["erases_at"] is None
        assert operator.json("org", "resume", shop.organization_id)["suspended"] is False
        operator.json(*named, "--yes")
    with psycopg.connect(house.facts["database_url"], autocommit=True) as connection:
        before = rows_of(connection, shop.organization_id)
        assert {table.partition(".")[0] for table in before} >= {
            "identity",
            "contacts",
            "sending",
            "webhooks",
        }
        connection.execute(_SHIFT, [shop.organization_id])

        async def services() -> list[Any]:
            erasure = operator.json("org", "show", shop.organization_id).get("erasure", {})
            return [service["erased_at"] for service in erasure.get("services", ())]

        done = await until(services, lambda found: len(found) == 5 and all(found), seconds=60)
        assert len(done) == 5
        left = rows_of(connection, shop.organization_id)
    assert left == {
        "identity.organizations": 1,
        "identity.erasure_requests": 1,
        "identity.audit_events": left["identity.audit_events"],
        "identity.outbox": 1,
        **{f"{schema}.erasures": 1 for schema in role_list().schemas},
        "sending.standstills": 1,
        "webhooks.standstills": 1,
    }
    assert "erased since" in operator.run("org", "show", shop.organization_id).stdout
    assert operator.run("org", "keep", shop.organization_id).exit_code == 3


async def test_what_a_process_gave_up_is_listed_and_handled_again(operator: Operator, house: House) -> None:
    reason = f"ValueError: {uuid4()}"
    with psycopg.connect(house.facts["database_url"], autocommit=True) as connection:
        [parked] = connection.execute(PARK, [reason]).fetchone() or ()
        found = {
            letter["id"]: letter for letter in operator.json("dead-letters", "list", "--process", "contacts")
        }
        assert found[parked]["error"] == reason
        assert reason in operator.run("dead-letters", "list").stdout
        assert operator.json("dead-letters", "replay", "contacts", parked) == {"requested": 1}

        async def deliveries() -> int:
            letters = operator.json("dead-letters", "list", "--process", "contacts")
            return next(int(letter["deliveries"]) for letter in letters if letter["id"] == parked)

        assert await until(deliveries, lambda seen: seen == 9, seconds=30) == 9
        connection.execute("DELETE FROM contacts.dead_letters WHERE id = %s", [parked])


@pytest.fixture
def administrator(tmp_path: Path, house: House) -> Operator:
    """Who has the variables of the servers."""
    variables = variables_of_servers(premises_of(house))
    sides = {name: url.removesuffix("/metrics") for name, url in house.facts["metrics_urls"].items()}
    del variables["programs"]
    return Operator(
        tmp_path, variables | {"PROCESS_URLS": json.dumps(sides), "FLOWNURTURE_URL": house.gateway_url}
    )


def test_a_platform_that_is_as_it_should_be_is_found_so(administrator: Operator) -> None:
    found = administrator.json("doctor")
    assert found["good"], found
    seen = {finding["what"]: finding["seen"] for finding in found["findings"]}
    assert seen.keys() >= {
        "PostgreSQL",
        "roles",
        "schema sending",
        "sending",
        "streams and readers",
        "Redis",
        "keys",
        "API",
    }
    assert administrator.json("migrate", "--check") == {}
    assert set(administrator.json("migrate")) == {
        "identity",
        "contacts",
        "sending",
        "webhooks",
        "integrations",
    }


def test_what_is_wrong_is_found_beside_what_is_not_and_how_to_mend_it_is_said(
    administrator: Operator,
) -> None:
    strange = json.dumps({"local-1": b64encode(bytes(range(32))).decode()})
    result = administrator.run(
        "doctor", "--json", REDIS_URL="redis://127.0.0.1:1", IDENTITY_KEY_ENCRYPTION_KEYS=strange
    )
    assert result.exit_code == 1
    wrong = {
        finding["what"]: finding for finding in json.loads(result.stdout)["findings"] if not finding["good"]
    }
    assert wrong.keys() == {"Redis", "keys"}
    assert "identity" in wrong["keys"]["seen"]
    assert all(finding["remedy"] for finding in wrong.values())
    assert administrator.run("doctor", NATS_URL="nats://127.0.0.1:1").exit_code == 1
    assert (
        administrator.run(
            "migrate", DATABASE_ADMIN_URL="postgresql://127.0.0.1:1/postgres", PASSWORD_IDENTITY_OWNER="x"
        ).exit_code
        == 4
    )
    assert administrator.run("migrate", PASSWORD_IDENTITY_OWNER="").exit_code == 2


def test_the_state_of_processes_and_of_what_waits_is_shown(administrator: Operator, house: House) -> None:
    shown = administrator.json("status")
    assert {process["process"] for process in shown["processes"]} == set(house.facts["metrics_urls"])
    assert all(process["ready"] for process in shown["processes"])
    assert {(each["stream"], each["reader"]) for each in shown["readers"]} >= {("CONTACTS", "sending")}
    dead = json.dumps({"gateway": house.gateway_url, "contacts": "http://127.0.0.1:1"})
    result = administrator.run("status", PROCESS_URLS=dead)
    assert (result.exit_code, "contacts" in result.stdout) == (1, True)


def test_keys_are_wrapped_again_and_the_trail_is_verified_by_the_services_own_commands(
    administrator: Operator, tmp_path: Path
) -> None:
    wrapped = administrator.json("keys", "rewrap", "webhooks")
    assert wrapped["webhooks"]["code"] == 0
    assert "0 did not open" in wrapped["webhooks"]["says"][0]
    assert administrator.run("keys", "rewrap", "contacts").exit_code == 2
    anchors = tmp_path / "anchors.txt"
    anchors.write_text("\n".join(administrator.json("audit", "anchors")["anchors"]))
    verified = administrator.json("audit", "verify", "--against", str(anchors))
    assert verified == {"whole": True, "says": ["every chain is whole"]}


def test_a_shell_completes_commands() -> None:
    asked = {"_FLOWNURTURE_COMPLETE": "complete_bash", "COMP_WORDS": "flownurture dead", "COMP_CWORD": "1"}
    assert CliRunner().invoke(app, [], env=asked, prog_name="flownurture").stdout.split() == ["dead-letters"]
