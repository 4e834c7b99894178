"""The identity service in this process, behind a real gRPC port."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from chassis.database import Database
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from services.identity.clock import Clock, system_clock
from services.identity.server import servicers
from services.identity.settings import IdentitySettings
from services.identity.tests import mails
from services.identity.tests.edge import PASSWORD, Edge

ServiceEnvironment: TypeAlias = Callable[[str], dict[str, str]]


class Start(Protocol):
    """Starts a replica of the service."""

    async def __call__(self, settings: IdentitySettings, clock: Clock = system_clock) -> Edge: ...


@pytest.fixture(scope="session")
def settings(service_environment: ServiceEnvironment) -> IdentitySettings:
    environment = {
        **service_environment("identity"),
        **mails.ENVIRONMENT,
        "SUPER_ADMIN_EMAIL": f"operator-{uuid4().hex}@platform.test",
        "SUPER_ADMIN_PASSWORD": PASSWORD,
    }
    return IdentitySettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: IdentitySettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="identity") as database:
        yield database


@pytest.fixture(scope="session")
async def start(database: Database, service_environment: ServiceEnvironment) -> AsyncIterator[Start]:
    """Starts a replica of the service with these settings, and answers its edge."""
    async with AsyncExitStack() as stack:

        async def start(settings: IdentitySettings, clock: Clock = system_clock) -> Edge:
            server = RpcServer(
                "identity", "127.0.0.1:0", StampVerifier("identity", settings.stamp_trusted_keys), database
            )
            server.add(*await servicers(settings, database, stack.enter_async_context, clock))
            await stack.enter_async_context(server)
            stamper = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
            target = f"127.0.0.1:{server.port}"
            return Edge(await stack.enter_async_context(Peer(target, "identity", stamper)), target)

        yield start


@pytest.fixture(scope="session")
async def edge(start: Start, settings: IdentitySettings) -> Edge:
    return await start(settings)


@pytest.fixture(scope="session")
async def redis(servers: Any) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.redis_url) as redis:
        yield redis
