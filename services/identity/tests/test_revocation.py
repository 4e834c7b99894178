"""Grants in Redis: filled by who asks, taken back before a change is acknowledged, never brought back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from chassis.errors import Unauthenticated
from chassis.secret import Secret
from flownurture.identity.v1 import admission_pb2, auth_pb2
from services.identity.grants import Grants
from services.identity.lookup import Lookup
from services.identity.redis_connections import redis_at
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import Start
from services.identity.tests.edge import Edge

GRANT = admission_pb2.Grant(organization_id=str(uuid4()), session_id=str(uuid4()), requests_per_minute=300)


async def _cached(redis: Redis, key: str) -> dict[str, bytes]:
    fields: dict[bytes, bytes] = await redis.hgetall(key)  # type: ignore[assignment]  # nothing decodes here
    return {field.decode(): value for field, value in fields.items()}


@pytest.fixture
async def grants(settings: IdentitySettings) -> AsyncIterator[Grants]:
    async with redis_at(settings.redis_url) as redis:
        yield Grants(redis)


async def test_a_resolved_session_is_cached_for_a_minute_as_gateways_read_it(
    edge: Edge, redis: Redis
) -> None:
    person = await edge.sign_up()
    grant = await edge.resolve_session(person.session_id)
    cached = await _cached(redis, f"grant:session:{person.session_id}")
    assert admission_pb2.Grant.FromString(cached["grant"]) == grant
    assert int(cached["requests_per_minute"]) == grant.requests_per_minute
    assert cached["secret"] == b""
    assert 0 < await redis.pttl(f"grant:session:{person.session_id}") <= 60_000


async def test_a_cached_key_carries_the_digest_of_its_secret(grants: Grants, redis: Redis) -> None:
    key_id = uuid4()
    await grants.fill_api_key(key_id, GRANT, b"d" * 32, await grants.begin_reading())
    assert await redis.hget(f"grant:key:{key_id}", "secret") == b"d" * 32


async def test_what_is_held_cannot_be_filled(grants: Grants, redis: Redis) -> None:
    session_id = uuid4()
    reading = await grants.begin_reading()
    await grants.fill_session(session_id, GRANT, reading)
    await grants.hold_session(session_id)
    assert not await redis.exists(f"grant:session:{session_id}")
    await grants.fill_session(session_id, GRANT, reading)
    assert not await redis.exists(f"grant:session:{session_id}")
    assert 50_000 < await redis.pttl(f"hold:session:{session_id}") <= 60_000


async def test_a_fill_that_comes_late_is_dropped_since_its_hold_may_have_ended(
    grants: Grants, redis: Redis
) -> None:
    session_id = uuid4()
    now = await grants.begin_reading()
    assert now is not None
    late = replace(now, fill_until_ms=now.fill_until_ms - 10_001)
    await grants.fill_session(session_id, GRANT, late)
    assert not await redis.exists(f"grant:session:{session_id}")


async def test_a_fill_under_way_while_its_session_ends_does_not_bring_it_back(
    edge: Edge, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await edge.sign_up()
    await redis.delete(f"grant:session:{person.session_id}")
    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    read = Lookup.session

    async def read_and_wait(lookup: Lookup, session_id: UUID) -> object:
        found = await read(lookup, session_id)
        has_read.set()
        await may_go_on.wait()
        return found

    monkeypatch.setattr(Lookup, "session", read_and_wait)
    resolving = asyncio.create_task(edge.resolve_session(person.session_id))
    await has_read.wait()
    await edge.call(edge.auth.LogOut, auth_pb2.LogOutRequest(), person.context)
    may_go_on.set()
    # It began before the log-out had answered, so it may still say yes; nobody after it hears so.
    await resolving
    assert not await redis.exists(f"grant:session:{person.session_id}")
    monkeypatch.undo()
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(person.session_id)


async def test_no_look_up_after_the_log_out_answered_finds_the_session_however_many_race(
    edge: Edge, redis: Redis
) -> None:
    for _ in range(10):
        person = await edge.sign_up()
        ended = asyncio.Event()

        async def keep_asking(session_id: UUID, ended: asyncio.Event) -> list[str]:
            passed_after: list[str] = []
            for _ in range(8):
                after = ended.is_set()
                try:
                    await edge.resolve_session(session_id)
                except Unauthenticated:
                    return passed_after
                if after:
                    passed_after.append("looked up after the end")
            return passed_after

        racers = [asyncio.create_task(keep_asking(person.session_id, ended)) for _ in range(6)]
        await edge.call(edge.auth.LogOut, auth_pb2.LogOutRequest(), person.context)
        ended.set()
        assert not await redis.exists(f"grant:session:{person.session_id}")
        assert await asyncio.gather(*racers) == [[]] * len(racers)
        assert not await redis.exists(f"grant:session:{person.session_id}")


async def test_without_redis_sessions_are_still_resolved(start: Start, settings: IdentitySettings) -> None:
    person = await (await start(settings)).sign_up()
    without_redis = await start(settings.model_copy(update={"redis_url": Secret("redis://127.0.0.1:1")}))
    grant = await without_redis.resolve_session(person.session_id)
    assert grant.organization_id == person.answer.organization.id
