"""A gateway on a real socket, before real gRPC servers, on the test run's Redis."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from gateway.admission import SCRIPT
from gateway.application import Application
from gateway.endpoints import contract_files
from gateway.http_server import HttpServer
from gateway.redis_script import RedisScript
from gateway.server import Readiness, api_routes, own_routes, the_gate
from gateway.settings import GatewaySettings
from gateway.tests.upstream import AUDIENCE, ISSUER, Identity, Upstream, stamp_keys
from gateway.upstreams import Upstreams

DOMAINS = (
    "identity",
    "contacts",
    "sending",
    "suppression",
    "delivery",
    "feedback",
    "webhooks",
    "integrations",
)


@dataclass
class House:
    """What a test may speak to, and look at."""

    url: str
    client: httpx.AsyncClient
    identity: Identity
    services: dict[str, Upstream]
    settings: dict[str, Any]

    async def call(self, method: str, path: str, credential: str = "", **request: Any) -> httpx.Response:
        """One request with a credential."""
        headers = dict(request.pop("headers", {}))
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        return await self.client.request(method, path, headers=headers, **request)


@asynccontextmanager
async def running_gateway(settings: dict[str, Any]) -> AsyncIterator[str]:
    """A gateway with these settings; its address."""
    loaded = GatewaySettings(**settings)
    async with AsyncExitStack() as stack:
        stamper = Stamper("gateway", loaded.stamp_private_key)
        upstreams = await stack.enter_async_context(Upstreams(loaded, stamper))
        script = await stack.enter_async_context(RedisScript(loaded.redis_url, SCRIPT))
        readiness = Readiness(upstreams, script)
        gate = the_gate(loaded, upstreams, script)
        routes = [*await api_routes(upstreams, gate), *own_routes(loaded, readiness)]
        await stack.enter_async_context(HttpServer(Application(routes), loaded.listen, readiness.drain))
        yield f"http://{loaded.listen}"


def free_address() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="session")
async def house(servers: Any) -> AsyncIterator[House]:
    private, public = stamp_keys()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(servers.redis_url))
        identity = Identity(redis)
        services = {
            service.name: Upstream(service)
            for file in contract_files()
            for service in file.services_by_name.values()
        }
        services |= {upstream.service.name: upstream for upstream in identity.upstreams()}
        targets = {}
        for domain in DOMAINS:
            server = RpcServer(domain, "127.0.0.1:0", StampVerifier(domain, {"gateway": public}))
            server.add(
                *(each for each in services.values() if each.service.file.package.split(".")[1] == domain)
            )
            await stack.enter_async_context(server)
            targets[f"{domain}_target"] = f"127.0.0.1:{server.port}"
        settings = {
            "listen": free_address(),
            "metrics_listen": "127.0.0.1:0",
            "stamp_private_key": Secret(private),
            "stamp_trusted_keys": "{}",
            "redis_url": Secret(servers.redis_url),
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "public_url": "http://gateway.test",
            **targets,
        }
        url = await stack.enter_async_context(running_gateway(settings))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20))
        yield House(url, client, identity, services, settings)
