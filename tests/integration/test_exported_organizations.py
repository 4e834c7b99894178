"""An organization that leaves is handed all that the platform holds of it, and nothing of anybody else."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from zipfile import ZipFile

import httpx
import psycopg
import pytest

from chassis.export import ExportRules
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant, import_contacts, sign_up
from tests.integration.test_command_line import Operator, rows_of
from tests.integration.test_exported_columns import RULES
from tests.integration.test_isolation import furnish


@pytest.fixture
def operator(tmp_path: Path, house: House) -> Iterator[Operator]:
    operator = Operator(tmp_path / "home", {"FLOWNURTURE_URL": house.gateway_url})
    # Fuzzers come after this, as the names of files have it: once they have tried, nobody is let in by this address for a while.
    admin = house.facts["super_admin"]
    assert operator.run("login", admin["email"], FLOWNURTURE_PASSWORD=admin["password"]).exit_code == 0
    yield operator
    assert operator.run("logout").exit_code == 0


@pytest.fixture
async def shop(api: httpx.AsyncClient, house: House) -> Tenant:
    """Has one of everything."""
    shop = await sign_up(api)
    await furnish(shop, house)
    return shop


def content_of(file: Path) -> dict[str, str]:
    with ZipFile(file) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


async def test_all_that_an_organization_has_is_in_its_export_and_its_trail_says_who_had_it(
    operator: Operator, shop: Tenant, house: House, tmp_path: Path
) -> None:
    with psycopg.connect(house.facts["database_url"], autocommit=True) as connection:
        names = (tmp_path / f"{number}.zip" for number in count())

        async def counts() -> tuple[dict[str, int], dict[str, int], Path]:
            """Of the file and of the database, and the file."""
            file = next(names)
            exported = operator.json("org", "export", shop.organization_id, str(file))
            written = {table_of(name): facts["rows"] for name, facts in exported["files"].items()}
            stored = rows_of(connection, shop.organization_id)
            return {table: rows for table, rows in written.items() if rows}, stored, file

        # What is on its way comes a moment later.
        written, stored, file = await until(
            counts, lambda seen: of_members(seen[0]) == given_of(seen[1]), seconds=30
        )
    assert of_members(written) == given_of(stored)
    assert {table.partition(".")[0] for table in written} == RULES.keys()
    assert len(written) > 40
    content = content_of(file)
    assert json.loads(content["manifest.json"])["organization_id"] == shop.organization_id
    assert "ada@example.test" in content["contacts/contacts.jsonl"]
    assert [json.loads(row)["name"] for row in content["contacts/lists.jsonl"].splitlines()] == ["Newsletter"]
    [member] = [json.loads(row) for row in content["identity/users.jsonl"].splitlines()]
    assert member.keys() >= {"email", "name"}
    trail = [json.loads(row) for row in content["identity/audit_events.jsonl"].splitlines()]
    [by] = {(act["actor_kind"], act["role"]) for act in trail if act["act"] == "organization_exported"}
    assert by == ("USER", "SUPER_ADMIN")
    # It was told before the file was given, and the organization's admins read it.
    told = [event["act"] for event in await shop.owner.every("/v1/audit-events", "audit_events")]
    assert told.count("organization_exported") == sum(act["act"] == "organization_exported" for act in trail)


async def test_nothing_of_another_organization_and_no_secret_is_in_an_export(
    operator: Operator, shop: Tenant, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    neighbour = await sign_up(api)
    await import_contacts(neighbour.owner, b"email\nneighbour@example.test\n")
    # Of one that is suspended, and to be erased, as well.
    operator.json("org", "erase", shop.organization_id, "--yes")
    operator.json("org", "export", shop.organization_id, str(tmp_path / "shop.zip"))
    written = "".join(content_of(tmp_path / "shop.zip").values())
    assert "friend@example.test" in written
    for others in (neighbour.organization_id, "neighbour@example.test"):
        assert others not in written
    for secret in (shop.secret, shop.access_token, shop.password):
        assert secret not in written


def given_of(stored: dict[str, int]) -> dict[str, int]:
    """The rows of tables that are not left out as a whole."""
    return {table: rows for table, rows in stored.items() if not _is_left_out(*table.split("."))}


def of_members(written: dict[str, int]) -> dict[str, int]:
    """All but the members' accounts, which are no organization's."""
    return {table: rows for table, rows in written.items() if table != "identity.users"}


def table_of(name: str) -> str:
    return name.removesuffix(".jsonl").replace("/", ".")


def _is_left_out(schema: str, table: str) -> bool:
    rules: ExportRules = RULES[schema]
    return rules.reason_for_leaving_out(table, "") is not None
