"""The webhooks service on real servers, and organizations that call it as the gateway would."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from services.webhooks.api.deliveries import WebhookDeliveryApi
from services.webhooks.api.directory import WebhookDirectoryApi
from services.webhooks.api.endpoints import WebhookEndpointApi
from services.webhooks.api.event_types import WebhookEventTypeApi
from services.webhooks.api.replays import WebhookReplayApi
from services.webhooks.api.tests.tenant import Tenant, Woken
from services.webhooks.api.usage import WebhookUsageApi
from services.webhooks.settings import WebhooksSettings


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> WebhooksSettings:
    environment = service_environment("webhooks")
    return WebhooksSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: WebhooksSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="webhooks", pool_size=10) as database:
        yield database


@pytest.fixture(scope="session")
async def scheduler(settings: WebhooksSettings) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield scheduler


@pytest.fixture(scope="session")
def vault(settings: WebhooksSettings) -> Vault:
    return Vault("webhooks", wrapping_of(settings))


@pytest.fixture(scope="session")
def woken() -> Woken:
    return Woken()


@pytest.fixture(scope="session")
async def server(
    settings: WebhooksSettings, database: Database, vault: Vault, woken: Woken
) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("webhooks", settings.stamp_trusted_keys)
    server = RpcServer("webhooks", "127.0.0.1:0", verifier, database)
    server.add(
        WebhookEndpointApi(vault, settings.destination_rules, woken),
        WebhookDeliveryApi(woken),
        WebhookReplayApi(),
        WebhookEventTypeApi(),
        WebhookDirectoryApi(),
        WebhookUsageApi(),
    )
    async with server:
        yield server


@pytest.fixture(scope="session")
def peer_as(server: RpcServer, service_environment: Callable[[str], dict[str, str]]) -> Callable[[str], Peer]:
    """The webhooks process as another process calls it, once entered."""

    def peer(process: str) -> Peer:
        key = Secret(service_environment(process)["STAMP_PRIVATE_KEY"])
        return Peer(f"127.0.0.1:{server.port}", "webhooks", Stamper(process, key))

    return peer


@pytest.fixture(scope="session")
async def gateway(peer_as: Callable[[str], Peer]) -> AsyncIterator[Peer]:
    async with peer_as("gateway") as peer:
        yield peer


@pytest.fixture
def tenant(gateway: Peer, database: Database, woken: Woken) -> Tenant:
    return Tenant(gateway, database, woken)


@pytest.fixture
def stranger(gateway: Peer, database: Database, woken: Woken) -> Tenant:
    """An admin of another organization."""
    return Tenant(gateway, database, woken)
