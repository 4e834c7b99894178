"""Rate limits over two gateways: a key's burst, its rate after that, and what every answer says about both."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle

import httpx
import pytest

from chassis.api_key import ApiKey
from chassis.derived_key import derive
from chassis.identifiers import new_id
from deploy.local.servers.program import free_address
from gateway.tests.house import House
from gateway.tests.processes import environment, gateway_process, ready

PATH = "/v1/contacts"
A_MINUTE = 3_000  # requests, as plan pro has them
CALLERS = 16
OFF_BY = 0.01
SUSTAINED_SECONDS = 10.0
REFUSALS = 100  # that show a burst to be over
# Many times as often as the rate lets them in, all the same.
REFUSED_PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 60

_RATELIMIT = re.compile(r'"default";r=(\d+);t=(\d+)')


@pytest.fixture(scope="module")
async def pair(house: House) -> AsyncIterator[tuple[str, str]]:
    """Two gateway processes that share Redis."""
    async with AsyncExitStack() as stack:
        addresses = free_address(), free_address()
        for address in addresses:
            await stack.enter_async_context(gateway_process(environment(house, LISTEN=address)))
        for address in addresses:
            await ready(f"http://{address}")
        yield f"http://{addresses[0]}", f"http://{addresses[1]}"


@dataclass
class Answers:
    """What callers got so far."""

    passed: int = 0
    refused: int = 0


@asynccontextmanager
async def load(house: House, urls: Sequence[str], credentials: Sequence[str]) -> AsyncIterator[Answers]:
    """Have callers ask both gateways in turn meanwhile, each its next request when it has its answer, or soon after it was refused."""
    answers = Answers()
    turns = cycle((url, credential) for credential in credentials for url in urls)

    async def caller() -> None:
        while True:
            url, credential = next(turns)
            answer = await house.call("GET", f"{url}{PATH}", credential)
            tells_the_rate(answer, A_MINUTE)
            answers.passed += answer.status_code == 200
            if answer.status_code == 429:
                answers.refused += 1
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(caller()) for _ in range(CALLERS)]
        yield answers
        for each in callers:
            each.cancel()


async def clock_when(house: House, holds: Callable[[float], bool]) -> float:
    """The first time of Redis at which this holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds(now := await clock(house)):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    return now


async def clock(house: House) -> float:
    """The time of Redis, which all gateways go by."""
    seconds, microseconds = await house.identity.redis.time()
    return float(seconds + microseconds / 1_000_000)


def tells_the_rate(answer: httpx.Response, limit: int) -> None:
    """Whether an answer's headers are right: what is left, and when all of it, or one request, is there again."""
    assert answer.headers["ratelimit-policy"] == f'"default";q={limit};w=60'
    told = _RATELIMIT.fullmatch(answer.headers["ratelimit"])
    assert told is not None
    left, seconds = int(told[1]), int(told[2])
    if answer.status_code == 429:
        assert left == 0
        assert answer.headers["retry-after"] == str(seconds)
        assert 1 <= seconds <= 1 + 60 / limit
    else:
        assert "retry-after" not in answer.headers
        assert 0 <= left < limit
        # What is used comes back in proportion to the minute.
        assert abs(seconds - 60 * (limit - left) / limit) <= 1 + 60 / limit


@pytest.mark.slow
async def test_a_keys_burst_and_its_rate_after_that_are_those_of_its_plan_over_two_gateways(
    house: House, pair: tuple[str, str]
) -> None:
    key, grant = house.identity.api_key("contacts:read", requests_per_minute=A_MINUTE)
    other, _ = house.identity.api_key(
        "contacts:read", requests_per_minute=A_MINUTE, organization_id=grant.organization_id
    )
    credentials = [key, derive(key, scopes=["contacts:read"])]
    a_second = A_MINUTE / 60

    began = await clock(house)
    async with load(house, pair, credentials) as answers:
        first = await clock_when(house, lambda _: answers.passed > 0)
        over = await clock_when(house, lambda _: answers.refused >= REFUSALS)
        burst = answers.passed
        untouched = await house.call("GET", f"{pair[0]}{PATH}", other)
        later = await clock_when(house, lambda now: now >= over + SUSTAINED_SECONDS)
        sustained = answers.passed - burst

    # What came back while the burst went on is no part of it. It began before the first answer, and each caller may have one more
    # that is not counted yet.
    assert burst - (over - began) * a_second <= A_MINUTE * (1 + OFF_BY)
    assert burst + CALLERS - (over - first) * a_second >= A_MINUTE * (1 - OFF_BY)
    due = (later - over) * a_second
    assert due * (1 - OFF_BY) - CALLERS <= sustained <= due * (1 + OFF_BY) + CALLERS
    # Callers that seldom meet the limit would have measured themselves.
    assert answers.refused > REFUSALS + sustained / 2
    assert untouched.headers["ratelimit"].startswith(f'"default";r={A_MINUTE - 1};')


async def test_who_waits_as_long_as_retry_after_says_is_let_in(house: House, pair: tuple[str, str]) -> None:
    key, _ = house.identity.api_key("contacts:read", requests_per_minute=30)
    answers = [await house.call("GET", f"{url}{PATH}", key) for url in pair * 16]
    for answer in answers:
        tells_the_rate(answer, 30)
    assert [answer.status_code for answer in answers] == [200] * 30 + [429] * 2
    again_at = await clock(house) + int(answers[-1].headers["retry-after"])
    await clock_when(house, lambda now: now >= again_at)
    answer = await house.call("GET", f"{pair[0]}{PATH}", key)
    assert answer.status_code == 200
    tells_the_rate(answer, 30)


async def test_whatever_is_answered_to_a_known_caller_it_tells_the_rate(
    house: House, pair: tuple[str, str]
) -> None:
    key, _ = house.identity.api_key("contacts:read", "contacts:write", requests_per_minute=60)
    token, _ = house.identity.user(requests_per_minute=60)
    answered = {}
    for method, path, credential in (
        ("GET", PATH, key),
        ("GET", PATH, token),
        ("GET", f"{PATH}?page_size=x", key),
        ("POST", PATH, key),
        ("GET", "/v1/campaigns", key),
        ("GET", "/v1/api-keys", token),
        ("DELETE", f"{PATH}/{new_id()}", key),
    ):
        answer = await house.call(method, f"{pair[0]}{path}", credential)
        tells_the_rate(answer, 60)
        answered[method, path] = answer.status_code
    assert sorted(answered.values()) == [200, 204, 403, 403, 422, 422]
    for path, credential in (("/v1/contacts", ""), ("/v1/contacts", ApiKey.mint(new_id())), ("/healthz", "")):
        nobodys = await house.call("GET", f"{pair[0]}{path}", credential)
        assert "ratelimit" not in nobodys.headers
