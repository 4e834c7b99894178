"""A gateway on a real socket, and what a test may say to it and look at behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from chassis.stamp import Stamper
from deploy.local.servers.program import free_address
from gateway.admission import SCRIPT
from gateway.application import Application
from gateway.http_server import HttpServer
from gateway.redis_script import RedisScript
from gateway.server import Readiness, api_routes, own_routes, the_gate
from gateway.settings import GatewaySettings
from gateway.tests.upstream import Identity, Upstream
from gateway.upstreams import Upstreams


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
    async def beside(self, **settings: Any) -> AsyncIterator["House"]:
        """The house behind another gateway, which differs in these settings.

        Its client is its own and hangs up first: a gateway that is about to end waits for those who are still connected.
        """
        told = self.settings | {"listen": free_address()} | settings
        async with running_gateway(told) as url, httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield replace(self, url=url, client=client)


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
