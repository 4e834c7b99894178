"""The contacts service on real servers, and organizations that call it as the gateway would."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from services.contacts.api.audience import AudienceApi
from services.contacts.api.contacts import ContactApi
from services.contacts.api.imports import ImportApi
from services.contacts.api.lists import ListApi
from services.contacts.api.usage import ContactUsageApi
from services.contacts.import_worker import ImportWorker
from services.contacts.settings import ContactsSettings
from services.contacts.tests.tenant import Tenant


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> ContactsSettings:
    environment = service_environment("contacts")
    return ContactsSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: ContactsSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="contacts") as database:
        yield database


@pytest.fixture(scope="session")
async def worker(settings: ContactsSettings, database: Database) -> AsyncIterator[ImportWorker]:
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield ImportWorker(database, scheduler)


@pytest.fixture(scope="session")
async def server(
    settings: ContactsSettings, database: Database, worker: ImportWorker
) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("contacts", settings.stamp_trusted_keys)
    server = RpcServer("contacts", "127.0.0.1:0", verifier, database)
    server.add(
        ContactApi(),
        ListApi(),
        AudienceApi(),
        ContactUsageApi(),
        ImportApi(database, created=worker.wake.set),
    )
    async with server:
        yield server


@pytest.fixture(scope="session")
def peer_as(server: RpcServer, service_environment: Callable[[str], dict[str, str]]) -> Callable[[str], Peer]:
    """The contacts process as another process calls it, once entered."""

    def peer(process: str) -> Peer:
        key = Secret(service_environment(process)["STAMP_PRIVATE_KEY"])
        return Peer(f"127.0.0.1:{server.port}", "contacts", Stamper(process, key))

    return peer


@pytest.fixture(scope="session")
async def gateway(peer_as: Callable[[str], Peer]) -> AsyncIterator[Peer]:
    async with peer_as("gateway") as peer:
        yield peer


@pytest.fixture
def tenant(gateway: Peer, database: Database, worker: ImportWorker) -> Tenant:
    return Tenant(gateway, database, worker)


@pytest.fixture
def stranger(gateway: Peer, database: Database, worker: ImportWorker) -> Tenant:
    """A member of another organization."""
    return Tenant(gateway, database, worker)
