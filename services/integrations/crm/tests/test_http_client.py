import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from services.integrations.crm.errors import Broken
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.tests.servers.serving import serving


class Odd:
    """Answers as nobody should."""

    def __init__(self) -> None:
        self.ports: set[int] = set()

    async def endless(self, request: Request) -> Response:
        async def forever() -> AsyncIterator[bytes]:
            while not await request.is_disconnected():
                yield b"x" * 65536

        return StreamingResponse(forever())

    async def elsewhere(self, request: Request) -> Response:
        return RedirectResponse("/endless")

    async def short(self, request: Request) -> Response:
        assert request.client
        self.ports.add(request.client.port)
        return Response(b'{"a": 1}')


@pytest_asyncio.fixture
async def odd() -> AsyncIterator[tuple[Odd, str]]:
    server = Odd()
    names = ("endless", "elsewhere", "short")
    async with serving(Starlette(routes=[Route(f"/{name}", getattr(server, name)) for name in names])) as url:
        yield server, url


async def test_an_answer_without_end_is_cut_off(odd: tuple[Odd, str]) -> None:
    async with HttpClient(most_bytes=1 << 20) as http:
        with pytest.raises(Broken, match="more than 1024 KB"):
            await http.send("GET", f"{odd[1]}/endless")


async def test_an_answer_that_takes_too_long_is_given_up(odd: tuple[Odd, str]) -> None:
    async with HttpClient(seconds=0.05, most_bytes=1 << 40) as http:
        with pytest.raises(Broken, match="did not answer"):
            await http.send("GET", f"{odd[1]}/endless")


async def test_redirects_are_not_followed(odd: tuple[Odd, str], http: HttpClient) -> None:
    assert (await http.send("GET", f"{odd[1]}/elsewhere")).status == 307


async def test_connections_are_used_again(odd: tuple[Odd, str], http: HttpClient) -> None:
    for _ in range(3):
        assert (await http.send("GET", f"{odd[1]}/short")).object() == {"a": 1}
    assert len(odd[0].ports) == 1


async def test_who_is_not_there_is_broken_and_nothing_of_the_url_is_told(
    http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Broken) as error:
        await http.send("GET", "http://127.0.0.1:1/", query={"term": "ada@example.com"})
    assert "ada" not in f"{error.value!r}{error.value.__cause__}"
    assert "ada" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("httpx"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("1e999", None),
        ("99:99", None),
    ],
)
def test_how_long_to_wait_is_read_in_either_form(value: str, seconds: float | None) -> None:
    answer = Answer(429, {"retry-after": value, "date": "Sun, 06 Nov 1994 08:49:37 GMT"}, b"")
    assert answer.retry_after() == seconds


def test_a_clock_that_makes_no_sense_is_not_believed() -> None:
    assert (datetime.now(UTC) - Answer(200, {"date": "yesterday"}, b"").sent_at()).total_seconds() < 5


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[]", b"1"])
def test_what_is_no_json_object_is_broken(body: bytes) -> None:
    with pytest.raises(Broken):
        Answer(200, {}, body).object()
