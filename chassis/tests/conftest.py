"""A schema of the chassis' own in the test run's PostgreSQL, and brokers that a test may kill."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.events import EventBus
from chassis.migrations.runner import migrate
from chassis.secret import Secret
from chassis.tests.broker import Broker
from chassis.tests.probe import THINGS, Probe


@pytest.fixture(scope="session")
def probe(servers: Any, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    admin_url = Secret(str(servers.admin_database_url))
    schema = f"probe_{worker_id}"
    database = f"flownurture_{schema}"
    with psycopg.connect(admin_url.reveal(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    packages = tmp_path_factory.mktemp("packages")
    probe = Probe(admin_url, database, schema, packages)
    probe.create_schema(schema)
    sys.path.append(str(packages))
    probe.write_migration(schema, "0001_things.py", THINGS)
    migrate(probe.url("owner"), schema)
    yield probe
    sys.path.remove(str(packages))


@pytest.fixture(scope="session")
async def database(probe: Probe) -> AsyncIterator[Database]:
    async with Database(probe.url("app"), schema=probe.schema) as database:
        yield database


@pytest.fixture(scope="session")
async def relay_database(probe: Probe) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(probe.url("relay")) as database:
        yield database


@pytest.fixture(scope="session")
async def scheduler_database(probe: Probe) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(probe.url("scheduler")) as database:
        yield database


@pytest.fixture
def context() -> RequestContext:
    """A request in an organization that no other test knows."""
    return RequestContext.of_process("probe", uuid4())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("nats")).start()
    yield broker
    broker.kill()


@pytest.fixture
def mortal_broker(tmp_path: Path) -> Iterator[Broker]:
    """One that the test kills."""
    broker = Broker(tmp_path).start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
async def bus(broker: Broker) -> AsyncIterator[EventBus]:
    async with EventBus(broker.settings) as bus:
        yield bus
