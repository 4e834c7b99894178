"""Admission: revocation acts at once, limits hold, and nobody is let in on a guess."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chassis.context import RequestContext
from chassis.secret import Secret
from deploy.local.servers.program import free_address
from flownurture.identity.v1.admission_pb2 import Grant
from gateway.shared_calls import SharedCalls
from gateway.tests.house import House


@asynccontextmanager
async def mute_server() -> AsyncIterator[str]:
    """Somebody who takes connections and never answers."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_second_request_needs_nobody_but_redis(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    for _ in range(3):
        assert (await house.call("GET", "/v1/contacts", key)).status_code == 200
    assert house.identity.resolved.count(f"key:{grant.actor.id}") == 1


async def test_a_revoked_key_is_refused_by_the_next_request(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    name = f"key:{grant.actor.id}"
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 200
    await house.identity.revoke(name)
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 401
    # A fill that had read the grant before the revocation comes late, and is not taken.
    await house.identity.fill(name, grant)
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 401


async def test_no_request_that_begins_after_a_revocation_gets_in(house: House) -> None:
    for _ in range(5):
        key, grant = house.identity.api_key("contacts:read")
        revoked = asyncio.Event()
        begun_after: list[int] = []

        async def knock(
            key: str = key, revoked: asyncio.Event = revoked, to: list[int] = begun_after
        ) -> None:
            for _ in range(8):
                after = revoked.is_set()
                response = await house.call("GET", "/v1/contacts", key)
                if after:
                    to.append(response.status_code)

        async def revoke(grant: Grant = grant, revoked: asyncio.Event = revoked) -> None:
            await house.identity.revoke(f"key:{grant.actor.id}")
            revoked.set()

        await asyncio.gather(*(knock() for _ in range(6)), revoke())
        assert set(begun_after) == {401}


async def test_concurrent_misses_of_one_credential_share_a_call(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    release = asyncio.Event()
    plain = house.identity.resolve

    async def slow(request: Any, context: RequestContext) -> Grant:
        await release.wait()
        return await plain(request, context)

    admission = house.services["AdmissionService"]
    admission.answer("ResolveCredential", slow)
    calls = [asyncio.create_task(house.call("GET", "/v1/contacts", key)) for _ in range(20)]
    asyncio.get_running_loop().call_later(0.05, release.set)
    assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    admission.answer("ResolveCredential", plain)
    # One that had begun before some of them asked, and one for all the others.
    assert house.identity.resolved.count(f"key:{grant.actor.id}") <= 3


async def test_a_shared_call_never_began_before_it_was_asked_for() -> None:
    calls: SharedCalls[str, int] = SharedCalls()
    begun = 0
    running, release = asyncio.Event(), asyncio.Event()

    async def call() -> int:
        nonlocal begun
        begun += 1
        mine = begun
        running.set()
        await release.wait()
        return mine

    first = [asyncio.create_task(calls.share("a", call)) for _ in range(3)]
    await running.wait()
    later = [asyncio.create_task(calls.share("a", call)) for _ in range(3)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*first) == [1, 1, 1]
    assert await asyncio.gather(*later) == [2, 2, 2]


async def test_every_authenticated_answer_tells_the_rate(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", requests_per_minute=120)
    first = await house.call("GET", "/v1/contacts", key)
    assert first.headers["ratelimit-policy"] == '"default";q=120;w=60'
    assert first.headers["ratelimit"] == '"default";r=119;t=1'
    refused = await house.call("DELETE", "/v1/contacts/x", key)
    assert refused.status_code == 403
    assert refused.headers["ratelimit"].startswith('"default";r=118')


async def test_over_the_limit_is_429_until_there_is_room_again(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", requests_per_minute=5)
    answers = [await house.call("GET", "/v1/contacts", key) for _ in range(7)]
    assert [response.status_code for response in answers] == [200] * 5 + [429] * 2
    refused = answers[-1]
    assert refused.json()["type"].endswith("/rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 12
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')


async def test_the_limit_holds_for_requests_at_the_same_moment(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", requests_per_minute=10)
    began = time.monotonic()
    answers = await asyncio.gather(*(house.call("GET", "/v1/contacts", key) for _ in range(40)))
    statuses = [response.status_code for response in answers]
    assert set(statuses) == {200, 429}
    # One more for every six seconds that it takes.
    assert 10 <= statuses.count(200) <= 10 + (time.monotonic() - began) / 6


async def test_one_keys_limit_is_not_anothers(house: House) -> None:
    (one, _), (other, _) = (house.identity.api_key("contacts:read", requests_per_minute=1) for _ in range(2))
    assert (await house.call("GET", "/v1/contacts", one)).status_code == 200
    assert (await house.call("GET", "/v1/contacts", one)).status_code == 429
    assert (await house.call("GET", "/v1/contacts", other)).status_code == 200


async def test_without_redis_identity_is_asked_each_time(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    async with mute_server() as mute:
        for redis in (f"redis://{free_address()}", mute):
            asked = house.identity.resolved.count(f"key:{grant.actor.id}")
            async with house.beside(redis_url=Secret(redis)) as other:
                for _ in range(2):
                    response = await other.call("GET", "/v1/contacts", key)
                    assert response.status_code == 200
                    assert "ratelimit" not in response.headers
                assert (await other.call("GET", "/readyz")).status_code == 200
            assert house.identity.resolved.count(f"key:{grant.actor.id}") == asked + 2


async def test_without_redis_and_identity_nobody_is_let_in(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    alone = {"redis_url": Secret(f"redis://{free_address()}"), "identity_target": free_address()}
    async with house.beside(**alone) as other:
        response = await other.call("GET", "/v1/contacts", key)
        assert response.status_code == 503
        assert response.json()["type"].endswith("/unavailable")
        assert (await other.call("GET", "/readyz")).status_code == 503


async def test_redis_is_found_again_after_it_was_lost(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    name = f"key:{grant.actor.id}"
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 200
    redis = house.identity.redis
    for client in await redis.client_list():
        if client["cmd"] in {"evalsha", "script|load", "script"}:
            await redis.client_kill_filter(_id=client["id"])
    await redis.script_flush()
    async with asyncio.timeout(10):
        while "ratelimit" not in (await house.call("GET", "/v1/contacts", key)).headers:
            pass
    assert house.identity.resolved.count(name) >= 1
