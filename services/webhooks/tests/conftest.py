"""The webhooks process' own code on real PostgreSQL, and receivers on real sockets."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database, RoleDatabase
from services.webhooks.settings import WebhooksSettings
from services.webhooks.tests.house import House, house
from services.webhooks.tests.receiver import Receiver, receiving


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


@pytest.fixture
async def webhooks(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase
) -> AsyncIterator[House]:
    async with house(settings, database, scheduler) as built:
        yield built


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
