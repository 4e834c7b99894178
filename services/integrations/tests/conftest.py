"""The integrations service on real servers, CRMs on real sockets, and organizations that call it as the gateway would."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database, RoleDatabase
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from services.integrations.settings import IntegrationsSettings
from services.integrations.tests.house import House, house


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> IntegrationsSettings:
    environment = service_environment("integrations")
    return IntegrationsSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: IntegrationsSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="integrations", pool_size=10) as database:
        yield database


@pytest.fixture(scope="session")
async def scheduler(settings: IntegrationsSettings) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield scheduler


@pytest.fixture(scope="session")
def vault(settings: IntegrationsSettings) -> Vault:
    return Vault("integrations", wrapping_of(settings))


@pytest.fixture
async def integrations(
    settings: IntegrationsSettings,
    database: Database,
    scheduler: RoleDatabase,
    vault: Vault,
    service_environment: Callable[[str], dict[str, str]],
) -> AsyncIterator[House]:
    async with house(settings, database, scheduler, vault, service_environment) as built:
        yield built
