"""Guessing is held off, whoever exists, and nobody is kept out of what is theirs by somebody who guesses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv6Address
from uuid import uuid4

import pytest

from chassis.database import Database
from chassis.errors import RateLimited, Unauthenticated, Unavailable
from chassis.secret import Secret
from chassis.tests.deadlines import until
from flownurture.identity.v1 import auth_pb2
from services.identity import audit
from services.identity.audit import Act, AuditEvent
from services.identity.redis_connections import redis_at
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import Start
from services.identity.tests.edge import NOBODY, PASSWORD, Edge
from services.identity.throttle import Allowance, Throttle, network_of

HERE = "192.0.2.10"


def somewhere() -> str:
    return str(IPv6Address(uuid4().int))


async def log_in(edge: Edge, email: str, password: str, address: str) -> auth_pb2.LogInResponse:
    request = auth_pb2.LogInRequest(email=email, password=password)
    context = replace(NOBODY, client_address=address)
    answer: auth_pb2.LogInResponse = await edge.call(edge.auth.LogIn, request, context)
    return answer


async def fail(edge: Edge, email: str, address: str) -> Unauthenticated | RateLimited:
    """A wrong password, and how it was refused."""
    with pytest.raises((Unauthenticated, RateLimited)) as refusal:
        await log_in(edge, email, "a password that is wrong", address)
    assert isinstance(refusal.value, Unauthenticated | RateLimited)
    return refusal.value


@pytest.fixture
async def throttle(settings: IdentitySettings) -> AsyncIterator[Throttle]:
    async with redis_at(settings.redis_url) as redis:
        yield Throttle(redis)


async def test_after_ten_wrong_passwords_nobody_guesses_on_whether_or_not_there_is_an_account(
    edge: Edge,
) -> None:
    ana = await edge.sign_up()
    told = []
    for email in (ana.email, f"{uuid4().hex}@people.test"):
        address = somewhere()
        refusals = [await fail(edge, email, address) for _ in range(11)]
        assert [type(refusal) for refusal in refusals] == [Unauthenticated] * 10 + [RateLimited]
        last = refusals[-1]
        assert isinstance(last, RateLimited)
        assert 0 < last.retry_after <= 60
        # Not even with the right password, for a while, from there.
        with pytest.raises(RateLimited):
            await log_in(edge, email, PASSWORD, address)
        told.append((refusals[0].message, last.message))
    assert told[0] == told[1]


async def test_a_stranger_who_fails_from_everywhere_keeps_the_owner_out_nowhere_they_are_signed_in(
    edge: Edge,
) -> None:
    ana = await edge.sign_up()
    await log_in(edge, ana.email, PASSWORD, HERE)
    await asyncio.gather(*(fail(edge, ana.email, somewhere()) for _ in range(110)))
    assert isinstance(await fail(edge, ana.email, somewhere()), RateLimited)
    assert await log_in(edge, ana.email, PASSWORD, HERE)


async def test_what_proves_right_is_given_back(edge: Edge) -> None:
    ana = await edge.sign_up()
    address = somewhere()
    for _ in range(12):
        assert await log_in(edge, ana.email, PASSWORD, address)


async def test_an_ipv6_client_is_counted_by_the_64_bits_that_it_has_to_itself(edge: Edge) -> None:
    ana = await edge.sign_up()
    network = IPv6Address(uuid4().int).exploded[:19]
    refusals = [await fail(edge, ana.email, f"{network}::{number:x}") for number in range(1, 12)]
    assert isinstance(refusals[-1], RateLimited)
    assert network_of(f"{network}::1") == network_of(f"{network}:ffff::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")


async def test_without_redis_nothing_is_tried(start: Start, settings: IdentitySettings) -> None:
    edge = await start(settings.model_copy(update={"redis_url": Secret("redis://127.0.0.1:1")}))
    with pytest.raises(Unavailable):
        await log_in(edge, "ana@people.test", PASSWORD, HERE)
    with pytest.raises(Unavailable):
        await edge.sign_up()


async def test_one_address_signs_up_so_many_and_no_more(start: Start, settings: IdentitySettings) -> None:
    edge = await start(settings.model_copy(update={"sign_ups_per_hour": 3}))
    context = replace(NOBODY, client_address=somewhere())

    async def sign_up() -> None:
        request = auth_pb2.SignUpRequest(
            email=f"{uuid4().hex}@people.test", password=PASSWORD, name="Ana", organization_name="Ana's"
        )
        await edge.call(edge.auth.SignUp, request, context)

    for _ in range(3):
        await sign_up()
    with pytest.raises(RateLimited) as refusal:
        await sign_up()
    assert 0 < refusal.value.retry_after <= 1200
    # Others are not concerned.
    await edge.sign_up()


async def test_as_many_as_the_burst_pass_at_once_and_what_is_given_back_can_be_taken_again(
    throttle: Throttle,
) -> None:
    allowance = Allowance(uuid4().hex, burst=7, seconds=3600)

    async def take() -> bool:
        try:
            await throttle.count(allowance)
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(take() for _ in range(40)))) == 7
    for _ in range(3):
        await throttle.give_back(allowance)
    assert sum(await asyncio.gather(*(take() for _ in range(40)))) == 3


async def test_what_one_count_refuses_is_counted_by_none(throttle: Throttle) -> None:
    narrow, wide = Allowance(uuid4().hex, 1, 3600), Allowance(uuid4().hex, 3, 3600)
    await throttle.count(narrow, wide)
    for _ in range(5):
        with pytest.raises(RateLimited):
            await throttle.count(narrow, wide)
    for _ in range(2):
        await throttle.count(wide)
    with pytest.raises(RateLimited):
        await throttle.count(wide)


async def test_time_earns_attempts_back(throttle: Throttle) -> None:
    allowance = Allowance(uuid4().hex, burst=1, seconds=0.05)
    await throttle.count(allowance)
    async with asyncio.timeout(10):
        while True:
            try:
                await throttle.count(allowance)
            except RateLimited as refusal:
                await asyncio.sleep(refusal.retry_after)
            else:
                return


async def test_failures_are_in_the_accounts_trail_with_their_address_and_do_not_fill_it(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    await asyncio.gather(*(fail(edge, ana.email, somewhere()) for _ in range(30)))

    async def noted() -> list[AuditEvent]:
        async with database.tenant_transaction(ana.context, read_only=True) as session:
            return await audit.page(session, before=None, size=100, act=Act.LOG_IN_FAILED)

    async def are_all_noted() -> bool:
        return len(await noted()) == 20

    await until(are_all_noted)
    events = await noted()
    assert len({event.client_address for event in events}) == 20
    assert {(event.actor_kind, str(event.target_id)) for event in events} == {
        ("ANONYMOUS", ana.answer.user.id)
    }
