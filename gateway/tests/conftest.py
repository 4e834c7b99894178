"""A gateway before real gRPC servers, on the test run's Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import StampVerifier
from deploy.local.servers.program import free_address
from gateway.endpoints import contract_files
from gateway.tests.house import House, running_gateway
from gateway.tests.upstream import AUDIENCE, ISSUER, Identity, Upstream, stamp_keys

DOMAINS = (
    "identity",
    "contacts",
    "sending",
    "suppression",
    "delivery",
    "feedback",
    "workflows",
    "webhooks",
    "integrations",
)


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
            # Not those that every process has, of which some are called like one of its own.
            if file.package.split(".")[1] in DOMAINS
        }
        services |= {upstream.service.name: upstream for upstream in identity.upstreams()}
        targets = {}
        for domain in DOMAINS:
            behind = [each for each in services.values() if each.domain == domain]
            targets[f"{domain}_target"] = free_address()
            if behind:
                server = RpcServer(domain, "127.0.0.1:0", StampVerifier(domain, {"gateway": public}))
                await stack.enter_async_context(server.add(*behind))
                targets[f"{domain}_target"] = f"127.0.0.1:{server.port}"
        settings = {
            "listen": free_address(),
            "metrics_listen": "127.0.0.1:0",
            "stamp_private_key": Secret(private),
            "stamp_trusted_keys": "{}",
            "redis_url": Secret(servers.addresses.redis_urls["gateway"]),
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "public_url": "http://gateway.test",
            **targets,
        }
        url = await stack.enter_async_context(running_gateway(settings))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20))
        yield House(url, client, identity, services, settings)
