"""Whoever can write to the database can tamper with the trail; nobody can without its showing."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.migrations.runner import migrate
from chassis.secret import Secret
from services.identity import audit, audit_chain, organizations
from services.identity.audit import Act
from services.identity.audit_chain import Anchor
from services.identity.tests.conftest import ServiceEnvironment

ROOT = Path(__file__).parents[3]
ROLES = ("app", "relay", "scheduler", "lookup", "platform")
EVENTS = 6


@dataclass(frozen=True)
class Trails:
    """A database of identity's own for these tests, so that each break in it is one that they made."""

    urls: dict[str, Secret]
    admin_url: str

    def tamper(self, statement: str, organization: UUID) -> None:
        """Do to the trail what nothing but the superuser could do, whatever stands against it."""
        with psycopg.connect(self.admin_url) as connection:
            connection.execute(
                cast("Any", statement), {"organization": organization, "other": uuid4(), "zero": bytes(32)}
            )

    async def breaks(self, organization: UUID, known: list[Anchor] | None = None) -> dict[int, str]:
        """The breaks of an organization's chain, by sequence."""
        async with RoleDatabase(self.urls["platform"]) as database:
            return {
                broken.sequence: broken.what
                async for broken in audit_chain.breaks(database, known or [])
                if broken.organization_id == organization
            }

    async def anchors(self) -> list[Anchor]:
        """The anchors of all chains."""
        async with RoleDatabase(self.urls["platform"]) as database:
            return [anchor async for anchor in audit_chain.anchors(database)]

    @asynccontextmanager
    async def an_organization(self, events: int = EVENTS) -> AsyncIterator[UUID]:
        """An organization with so many events; it is gone afterwards, with what was done to it."""
        context = RequestContext.of_process("identity", uuid4())
        async with Database(self.urls["app"], schema="identity") as database:
            async with database.tenant_transaction(context) as session:
                await organizations.create(session, "Ferro", now=datetime.now(UTC))
            for number in range(events):
                async with database.tenant_transaction(context) as session:
                    await audit.record(
                        session,
                        Act.ORGANIZATION_RENAMED,
                        context.organization,
                        after={"name": f"Ferro {number}"},
                    )
        yield context.organization
        self.tamper(
            "DELETE FROM identity.audit_events WHERE organization_id = %(organization)s", context.organization
        )
        self.tamper(
            "DELETE FROM identity.outbox WHERE organization_id = %(organization)s", context.organization
        )
        self.tamper(
            "DELETE FROM identity.organizations WHERE organization_id = %(organization)s",
            context.organization,
        )


def _in(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="session")
def trails(
    servers: Any,
    service_environment: ServiceEnvironment,
    owner_database_url: Callable[[str], str],
    worker_id: str,
) -> Iterator[Trails]:
    name, environment = f"flownurture_trails_{worker_id}", service_environment("identity")
    admin_url = _in(servers.admin_database_url, name)
    with psycopg.connect(servers.admin_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA identity AUTHORIZATION identity_owner")
        for role in ("owner", *ROLES):
            grantee = sql.Identifier(f"identity_{role}")
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA identity TO {}").format(grantee))
            connection.execute(
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = identity").format(
                    grantee, sql.Identifier(name)
                )
            )
    migrate(Secret(_in(owner_database_url("identity"), name)), "services.identity")
    app = environment["DATABASE_URL"]
    platform = environment["DATABASE_PLATFORM_URL"]
    yield Trails({"app": Secret(_in(app, name)), "platform": Secret(_in(platform, name))}, admin_url)
    with psycopg.connect(servers.admin_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_what_nobody_touched_is_whole(trails: Trails) -> None:
    async with trails.an_organization() as organization:
        assert await trails.breaks(organization, await trails.anchors()) == {}


HERE = "WHERE organization_id = %(organization)s"
TAMPERING = {
    "an act is changed": (f"UPDATE identity.audit_events SET act = 'logged_in' {HERE} AND sequence = 3", {3}),
    "an actor is changed": (f"UPDATE identity.audit_events SET actor_id = '' {HERE} AND sequence = 3", {3}),
    "a role is changed": (f"UPDATE identity.audit_events SET role = 'MEMBER' {HERE} AND sequence = 3", {3}),
    "a time is changed": (
        f"UPDATE identity.audit_events SET occurred_at = occurred_at + interval '1 microsecond' {HERE} AND sequence = 3",
        {3},
    ),
    "an address is changed": (
        f"UPDATE identity.audit_events SET client_address = '192.0.2.1' {HERE} AND sequence = 3",
        {3},
    ),
    "a target is changed": (
        f"UPDATE identity.audit_events SET target_id = %(other)s {HERE} AND sequence = 3",
        {3},
    ),
    "what was is changed": (
        f"""UPDATE identity.audit_events SET before = '{{}}' {HERE} AND sequence = 3""",
        {3},
    ),
    "what is is changed": (f"UPDATE identity.audit_events SET after = NULL {HERE} AND sequence = 3", {3}),
    "a request is changed": (
        f"UPDATE identity.audit_events SET request_id = 'x' {HERE} AND sequence = 3",
        {3},
    ),
    "an id is changed": (f"UPDATE identity.audit_events SET id = %(other)s {HERE} AND sequence = 3", {3}),
    "a hash is changed": (
        f"UPDATE identity.audit_events SET hash = %(zero)s {HERE} AND sequence = 3",
        {3, 4},
    ),
    "a link is changed": (
        f"UPDATE identity.audit_events SET previous_hash = %(zero)s {HERE} AND sequence = 3",
        {3},
    ),
    "the first is deleted": (f"DELETE FROM identity.audit_events {HERE} AND sequence = 1", {2}),
    "one is deleted": (f"DELETE FROM identity.audit_events {HERE} AND sequence = 3", {4}),
    "one is deleted and the gap closed": (
        f"DELETE FROM identity.audit_events {HERE} AND sequence = 3;"
        f"UPDATE identity.audit_events SET sequence = sequence - 1 {HERE} AND sequence = 4;"
        f"UPDATE identity.audit_events SET sequence = sequence - 1 {HERE} AND sequence = 5;"
        f"UPDATE identity.audit_events SET sequence = sequence - 1 {HERE} AND sequence = 6",
        {3, 4, 5},
    ),
    "two are exchanged": (
        f"UPDATE identity.audit_events SET sequence = 99 {HERE} AND sequence = 3;"
        f"UPDATE identity.audit_events SET sequence = 3 {HERE} AND sequence = 4;"
        f"UPDATE identity.audit_events SET sequence = 4 {HERE} AND sequence = 99",
        {3, 4, 5},
    ),
    "one is inserted at the end": (
        f"""
        INSERT INTO identity.audit_events
        SELECT organization_id, 7, %(other)s, occurred_at, act, actor_kind, actor_id, role, client_address, target_id,
               before, after, request_id, hash, hash
        FROM identity.audit_events {HERE} AND sequence = 6
        """,
        {7},
    ),
}


@pytest.mark.parametrize("tampering", TAMPERING)
async def test_tampering_shows_where_it_was_done(trails: Trails, tampering: str) -> None:
    statements, shows_at = TAMPERING[tampering]
    async with trails.an_organization() as organization:
        for statement in statements.split(";"):
            trails.tamper(statement, organization)
        assert (await trails.breaks(organization)).keys() == shows_at


async def test_an_event_of_another_organization_shows(trails: Trails) -> None:
    async with trails.an_organization() as organization, trails.an_organization(events=0) as other:
        trails.tamper(
            f"UPDATE identity.audit_events SET organization_id = '{other}' {HERE} AND sequence = 1",
            organization,
        )
        assert (await trails.breaks(other)).keys() == {1}
        assert (await trails.breaks(organization)).keys() == {2}


async def test_what_was_cut_off_shows_against_an_anchor_and_only_there(trails: Trails) -> None:
    async with trails.an_organization() as organization:
        known = await trails.anchors()
        trails.tamper(f"DELETE FROM identity.audit_events {HERE} AND sequence > 4", organization)
        assert await trails.breaks(organization) == {}
        assert (await trails.breaks(organization, known)).keys() == {EVENTS}


async def test_a_chain_that_was_emptied_shows_against_an_anchor(trails: Trails) -> None:
    async with trails.an_organization() as organization:
        known = await trails.anchors()
        trails.tamper(f"DELETE FROM identity.audit_events {HERE}", organization)
        assert (await trails.breaks(organization, known)).keys() == {EVENTS}


async def test_a_chain_that_was_written_anew_shows_against_an_anchor_and_only_there(trails: Trails) -> None:
    async with trails.an_organization() as organization:
        known = await trails.anchors()
        trails.tamper(f"DELETE FROM identity.audit_events {HERE}", organization)
        context = RequestContext.of_process("identity", organization)
        async with Database(trails.urls["app"], schema="identity") as database:
            for _ in range(EVENTS):
                async with database.tenant_transaction(context) as session:
                    await audit.record(session, Act.LOGGED_IN, organization)
        assert await trails.breaks(organization) == {}
        assert (await trails.breaks(organization, known)).keys() == {EVENTS}


async def test_a_chain_that_goes_on_still_holds_what_an_anchor_knows(trails: Trails) -> None:
    async with trails.an_organization() as organization:
        known = await trails.anchors()
        context = RequestContext.of_process("identity", organization)
        async with (
            Database(trails.urls["app"], schema="identity") as database,
            database.tenant_transaction(context) as session,
        ):
            await audit.record(session, Act.LOGGED_IN, organization)
        assert await trails.breaks(organization, known) == {}


async def test_a_trail_of_many_batches_is_verified_as_one(
    trails: Trails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "_BATCH", 2)
    async with trails.an_organization(events=7) as organization, trails.an_organization(events=2) as other:
        known = await trails.anchors()
        assert {(anchor.organization_id, anchor.sequence) for anchor in known} >= {
            (organization, 7),
            (other, 2),
        }
        assert await trails.breaks(organization, known) == {}
        trails.tamper(
            f"UPDATE identity.audit_events SET act = 'logged_in' {HERE} AND sequence = 5", organization
        )
        assert (await trails.breaks(organization)).keys() == {5}
        assert await trails.breaks(other) == {}


Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def command(trails: Trails) -> Run:
    """`python -m services.identity audit …`, told nothing but who it is: its exit code and what it printed."""

    async def run(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.identity", "audit", *arguments),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}",
                "DATABASE_PLATFORM_URL": trails.urls["platform"].reveal(),
                "COLUMNS": "200",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()

    return run


async def test_the_command_finds_a_whole_trail_whole_and_a_broken_one_broken(
    trails: Trails, command: Run, tmp_path: Path
) -> None:
    async with trails.an_organization() as organization:
        code, printed = await command("anchors")
        assert code == 0
        assert f"{organization} {EVENTS} " in printed
        kept = tmp_path / "anchors"
        kept.write_text(printed)
        assert await command("verify", "--against", str(kept)) == (0, "every chain is whole\n")
        trails.tamper(f"DELETE FROM identity.audit_events {HERE} AND sequence = {EVENTS}", organization)
        assert (await command("verify"))[0] == 0
        code, printed = await command("verify", "--against", str(kept))
        assert (code, f"organization {organization}, sequence {EVENTS}: " in printed) == (1, True)
        trails.tamper(f"UPDATE identity.audit_events SET act = 'x' {HERE} AND sequence = 2", organization)
        code, printed = await command("verify")
        assert (code, f"organization {organization}, sequence 2: " in printed) == (1, True)


async def test_the_command_says_which_line_of_a_file_is_no_anchor(command: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "anchors"
    wrong.write_text(f"{uuid4()} 1 {'00' * 32}\nnot one\n")
    code, printed = await command("verify", "--against", str(wrong))
    assert code == 2
    assert "line 2" in printed


async def test_the_commands_explain_themselves(command: Run) -> None:
    code, printed = await command("--help")
    assert (code, "verify" in printed, "anchors" in printed) == (0, True, True)
    code, printed = await command("verify", "--help")
    assert (code, "--against" in printed, "exits with 1" in printed) == (0, True, True)


async def test_no_role_may_do_more_to_the_trail_than_read_it_and_add_to_it(database: Database) -> None:
    granted = text("""
        SELECT grantee || ' ' || privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = 'identity' AND table_name = 'audit_events' AND grantee <> 'identity_owner'
        UNION
        SELECT rolname || ' ' || privilege FROM pg_roles, unnest('{UPDATE,DELETE,TRUNCATE}'::text[]) privilege
        WHERE rolname LIKE '%!_%' ESCAPE '!' AND rolname <> 'identity_owner' AND NOT rolsuper
        AND rolname NOT LIKE 'pg!_%' ESCAPE '!' AND has_table_privilege(rolname, 'identity.audit_events', privilege)
    """)
    async with database.platform_transaction() as connection:
        found = set((await connection.execute(granted)).scalars())
    assert found <= {"identity_app SELECT", "identity_app INSERT", "identity_platform SELECT"}
    assert "identity_app INSERT" in found
