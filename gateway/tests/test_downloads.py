"""Downloads: a file comes as it is written, no faster than it is taken, and is never taken for whole when it is not."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.errors import NotFound
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from gateway.tests.house import House

RPC = "DownloadImportErrors"


def path() -> str:
    return f"/v1/contacts/imports/{new_id()}/errors"


@pytest.fixture
def key(house: House) -> str:
    return house.identity.api_key("contacts:read")[0]


def of_pieces(count: int, size: int) -> AsyncGenerator[HttpBody, None]:
    async def produce() -> AsyncGenerator[HttpBody, None]:
        for number in range(count):
            yield HttpBody(content_type="text/csv; charset=utf-8", data=f"{number:>{size}}".encode())

    return produce()


async def test_a_file_arrives_whole_in_order_and_under_its_name(house: House, key: str) -> None:
    house.services["ImportService"].answer_in_pieces(RPC, lambda: of_pieces(500, 1000))
    answer = await house.call("GET", path(), key)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="import-errors.csv"'
    assert answer.headers["x-request-id"]
    assert "ratelimit" in answer.headers
    assert answer.content == b"".join(f"{number:>1000}".encode() for number in range(500))


async def test_an_empty_file_is_one(house: House, key: str) -> None:
    house.services["ImportService"].answer_in_pieces(RPC, lambda: of_pieces(0, 0))
    answer = await house.call("GET", path(), key)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_what_goes_wrong_before_the_first_byte_is_a_problem_like_any(house: House, key: str) -> None:
    async def produce() -> AsyncGenerator[HttpBody, None]:
        raise NotFound("import as x")
        yield

    house.services["ImportService"].answer_in_pieces(RPC, produce)
    answer = await house.call("GET", path(), key)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await house.call("GET", path())).status_code == 401
    assert (await house.call("GET", "/v1/contacts/imports/none/errors", key)).status_code == 422


async def test_a_file_that_breaks_off_is_not_taken_for_whole(house: House, key: str) -> None:
    async def produce() -> AsyncGenerator[HttpBody, None]:
        yield HttpBody(content_type="text/csv", data=b"a" * 1000)
        raise NotFound("list as x")

    house.services["ImportService"].answer_in_pieces(RPC, produce)
    for _ in range(20):
        with pytest.raises(httpx.RemoteProtocolError):
            await house.call("GET", path(), key)


async def test_other_connections_live_on_when_one_breaks_off(house: House, key: str) -> None:
    async def produce() -> AsyncGenerator[HttpBody, None]:
        yield HttpBody(content_type="text/csv", data=b"a")
        raise NotFound("list as x")

    service = house.services["ImportService"]
    service.answer_in_pieces(RPC, lambda: of_pieces(2_000, 10_000))

    async def whole() -> int:
        return len((await house.call("GET", path(), key)).content)

    before = len(service.asked)
    others = [asyncio.create_task(whole()) for _ in range(4)]
    await until(lambda: len(service.asked) == before + 4)
    service.answer_in_pieces(RPC, produce)
    with pytest.raises(httpx.RemoteProtocolError):
        await house.call("GET", path(), key)
    assert await asyncio.gather(*others) == [20_000_000] * 4


async def test_a_client_that_leaves_or_is_slow_stops_who_writes(house: House, key: str) -> None:
    written, ended = 0, asyncio.Event()

    async def produce() -> AsyncGenerator[HttpBody, None]:
        nonlocal written
        try:
            for _ in range(5_000):
                written += 1
                yield HttpBody(data=b"x" * 100_000)
        finally:
            ended.set()

    house.services["ImportService"].answer_in_pieces(RPC, produce)
    async with house.client.stream("GET", path(), headers={"authorization": f"Bearer {key}"}) as answer:
        pieces = answer.aiter_bytes()
        for _ in range(10):
            await anext(pieces)
        assert written < 1_000
    await until(ended.is_set)
    assert written < 1_500


async def test_a_head_reads_nothing(house: House, key: str) -> None:
    ended = asyncio.Event()

    async def produce() -> AsyncGenerator[HttpBody, None]:
        try:
            for _ in range(1_000_000):
                yield HttpBody(data=b"x" * 1_000)
        finally:
            ended.set()

    house.services["ImportService"].answer_in_pieces(RPC, produce)
    answer = await house.call("HEAD", path(), key)
    assert (answer.status_code, answer.content) == (200, b"")
    await until(ended.is_set)
