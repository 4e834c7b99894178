"""Migrations: each is applied once, whole or not at all, and what they protect is protected."""

import threading
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import exc

from chassis.migrations.runner import migrate
from chassis.secret import Secret
from chassis.tests.probe import Probe


def script(revision: str, body: str, after: str | None = None) -> str:
    return f'''
from alembic import op

from chassis.migrations.ddl import *

revision = "{revision}"
down_revision = {after!r}


def upgrade():
    {body}
'''


@pytest.fixture
def package(probe: Probe) -> str:
    """A service of this test's own, with its schema and roles, without migrations yet."""
    name = f"service_{uuid4().hex[:8]}"
    probe.create_schema(name)
    return name


@pytest.fixture
def owner(probe: Probe, package: str) -> Secret:
    url = probe.url("owner").reveal().replace(f"{probe.schema}_owner", f"{package}_owner")
    return Secret(url)


def tables(probe: Probe, schema: str) -> set[str]:
    return {name for (name,) in probe.look("SELECT tablename FROM pg_tables WHERE schemaname = %s", schema)}


def test_what_is_missing_is_applied_in_order_and_once(probe: Probe, package: str, owner: Secret) -> None:
    probe.write_migration(package, "0001_one.py", script("0001", 'op.execute("CREATE TABLE one ()")'))
    assert migrate(owner, package) == ["0001"]
    probe.write_migration(
        package, "0002_two.py", script("0002", 'op.execute("ALTER TABLE one ADD x int")', "0001")
    )
    probe.write_migration(
        package, "0003_three.py", script("0003", 'op.execute("CREATE TABLE three ()")', "0002")
    )
    assert migrate(owner, package) == ["0002", "0003"]
    assert migrate(owner, package) == []
    assert tables(probe, package) == {"one", "three", "alembic_version"}


def test_a_migration_that_fails_leaves_nothing_of_itself(probe: Probe, package: str, owner: Secret) -> None:
    probe.write_migration(package, "0001_one.py", script("0001", 'op.execute("CREATE TABLE one ()")'))
    broken = 'op.execute("CREATE TABLE two ()"); op.execute("SELECT 1 / 0")'
    probe.write_migration(package, "0002_two.py", script("0002", broken, "0001"))
    with pytest.raises(exc.DataError):
        migrate(owner, package)
    assert tables(probe, package) == {"one", "alembic_version"}
    probe.write_migration(package, "0002_two.py", script("0002", 'op.execute("CREATE TABLE two ()")', "0001"))
    assert migrate(owner, package) == ["0002"]


def test_two_runs_at_once_apply_each_migration_once(probe: Probe, package: str, owner: Secret) -> None:
    slow = 'op.execute("CREATE TABLE one ()"); op.execute("SELECT pg_sleep(0.3)")'
    probe.write_migration(package, "0001_one.py", script("0001", slow))
    applied: list[list[str]] = []
    runs = [threading.Thread(target=lambda: applied.append(migrate(owner, package))) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(applied) == [[], [], ["0001"]]


def test_a_migration_that_waits_for_a_lock_gives_up(
    probe: Probe, package: str, owner: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.migrations.upgrade._LOCK_TIMEOUT", "50ms")
    probe.write_migration(package, "0001_one.py", script("0001", 'op.execute("CREATE TABLE one ()")'))
    migrate(owner, package)
    probe.write_migration(
        package, "0002_two.py", script("0002", 'op.execute("ALTER TABLE one ADD x int")', "0001")
    )
    with psycopg.connect(owner.reveal()) as reader:
        reader.execute("SELECT * FROM one")
        with pytest.raises(exc.OperationalError, match="lock timeout"):
            migrate(owner, package)


def test_an_index_can_be_built_outside_of_a_transaction(probe: Probe, package: str, owner: Secret) -> None:
    body = """
    op.execute("CREATE TABLE one (x int)")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY one_x ON one (x)")
    """
    probe.write_migration(package, "0001_one.py", script("0001", body.strip()))
    migrate(owner, package)
    assert probe.look(
        "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND indexname = 'one_x'", package
    )


def test_the_owner_sees_no_rows_but_while_it_lets_itself_in(probe: Probe) -> None:
    with psycopg.connect(probe.superuser_url().reveal()) as superuser:
        superuser.execute(f"SET app.organization_id = '{uuid4()}'")
        superuser.execute(f"INSERT INTO {probe.schema}.things (name) VALUES ('somebody''s')")
    with psycopg.connect(probe.url("owner").reveal()) as owner:
        assert owner.execute("SELECT count(*) FROM things").fetchone() == (0,)
        owner.execute("CREATE POLICY backfill ON things TO CURRENT_USER USING (true) WITH CHECK (true)")
        assert owner.execute("SELECT count(*) > 0 FROM things").fetchone() == (True,)
        owner.execute("DROP POLICY backfill ON things")
        assert owner.execute("SELECT count(*) FROM things").fetchone() == (0,)


@pytest.mark.parametrize("table", ["outbox", "inbox", "idempotency_keys", "things"])
def test_every_tenant_table_is_forced_under_one_policy_of_the_app_role(probe: Probe, table: str) -> None:
    [(enabled, forced)] = probe.look(
        "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table
    )
    policies = probe.look(
        "SELECT polname, polpermissive, polcmd, polroles::regrole[]::text FROM pg_policy "
        "WHERE polrelid = %s::regclass AND polname = 'tenant'",
        table,
    )
    assert (enabled, forced) == (True, True)
    assert policies == [("tenant", True, "*", f"{{{probe.schema}_app}}")]


@pytest.mark.parametrize("wrong", [lambda: "no.such.package", lambda: "chassis"])
def test_a_package_without_migrations_is_an_error(probe: Probe, wrong: Callable[[], str]) -> None:
    with pytest.raises((LookupError, ModuleNotFoundError)):
        migrate(probe.url("owner"), wrong())
