"""What comes bit by bit: events as they come for who takes them, for others the last of them, and no failure that looks like an end."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from chassis.errors import NotFound, Unavailable
from chassis.tests.deadlines import until
from deploy.local.servers.program import free_address
from flownurture.integrations.v1.writing_pb2 import MailPiece, SubjectLine, WriteMailEvent, WrittenMail
from gateway.event_streams import takes_events
from gateway.tests.house import House
from gateway.tests.processes import environment, gateway_process, ready

RPC, PATH = "WriteMail", "/v1/ai/write"
BRIEF = {"goal": "Tell of spring"}
EVENTS = {"accept": "text/event-stream"}
MAIL = WriteMailEvent(
    mail=WrittenMail(subject_lines=[SubjectLine(subject="A\nb", preheader="é")], html="<p>")
)


def piece(html: str) -> WriteMailEvent:
    return WriteMailEvent(draft=MailPiece(attempt=1, html=html))


@pytest.fixture
def key(house: House) -> str:
    return house.identity.api_key("ai:write", features=["ai_writing"])[0]


def answers(house: House, *events: WriteMailEvent, then: Exception | None = None) -> None:
    async def produce() -> AsyncGenerator[WriteMailEvent, None]:
        for event in events:
            yield event
        if then is not None:
            raise then

    house.services["WritingService"].answer_in_pieces(RPC, produce)


def events_of(answer: httpx.Response) -> list[tuple[str, Any]]:
    assert answer.headers["content-type"] == "text/event-stream"
    *events, rest = answer.text.split("\n\n")
    assert rest == ""
    lines = [event.split("\n") for event in events]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


async def test_who_takes_no_events_is_answered_with_the_result_alone(house: House, key: str) -> None:
    answers(house, piece("<p"), piece(">"), MAIL)
    answer = await house.call("POST", PATH, key, json=BRIEF)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "subject_lines": [{"subject": "A\nb", "preheader": "é"}],
        "html": "<p>",
        "text": "",
        "tokens": 0,
    }


async def test_who_takes_events_gets_each_in_its_order(house: House, key: str) -> None:
    answers(house, piece("<p\n"), piece("\n\n>"), MAIL)
    answer = await house.call("POST", PATH, key, json=BRIEF, headers=EVENTS)
    assert answer.status_code == 200
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    assert "ratelimit" in answer.headers
    assert events_of(answer)[:2] == [
        ("draft", {"attempt": 1, "html": "<p\n"}),
        ("draft", {"attempt": 1, "html": "\n\n>"}),
    ]
    assert events_of(answer)[2][1]["subject_lines"] == [{"subject": "A\nb", "preheader": "é"}]


async def test_an_event_comes_when_it_happens(house: House, key: str) -> None:
    goes_on = asyncio.Event()

    async def produce() -> AsyncGenerator[WriteMailEvent, None]:
        yield piece("<p>")
        await goes_on.wait()
        yield MAIL

    house.services["WritingService"].answer_in_pieces(RPC, produce)
    headers = EVENTS | {"authorization": f"Bearer {key}"}
    async with house.client.stream("POST", PATH, headers=headers, json=BRIEF) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: draft"
        goes_on.set()
        assert "event: mail" in [line async for line in lines]


@pytest.mark.parametrize("headers", [{}, EVENTS])
async def test_what_goes_wrong_before_anything_is_told_is_a_problem_like_any(
    house: House, key: str, headers: dict[str, str]
) -> None:
    answers(house, then=Unavailable("No AI provider."))
    answer = await house.call("POST", PATH, key, json=BRIEF, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert (await house.call("POST", PATH, json=BRIEF, headers=headers)).status_code == 401
    assert (await house.call("POST", PATH, key, json={}, headers=headers)).status_code == 422
    poor = house.identity.api_key("ai:write")[0]
    refused = await house.call("POST", PATH, poor, json=BRIEF, headers=headers)
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (403, "plan-upgrade-required")


async def test_what_goes_wrong_later_is_the_last_event(house: House, key: str) -> None:
    answers(house, piece("<p>"), then=NotFound("mail as x"))
    answer = await house.call("POST", PATH, key, json=BRIEF, headers=EVENTS)
    assert answer.status_code == 200
    name, document = events_of(answer)[-1]
    assert (name, document["status"], document["type"].rpartition("/")[2]) == ("problem", 404, "not-found")
    assert document["request_id"] == answer.headers["x-request-id"]
    without = await house.call("POST", PATH, key, json=BRIEF)
    assert (without.status_code, without.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("headers", [{}, EVENTS])
async def test_an_answer_without_a_result_is_no_success(
    house: House, key: str, headers: dict[str, str]
) -> None:
    answers(house)
    assert (await house.call("POST", PATH, key, json=BRIEF, headers=headers)).status_code == 500


async def test_when_the_client_leaves_the_call_ends(house: House, key: str) -> None:
    ended = asyncio.Event()

    async def produce() -> AsyncGenerator[WriteMailEvent, None]:
        try:
            for _ in range(1_000_000):
                yield piece("x" * 1_000)
        finally:
            ended.set()

    house.services["WritingService"].answer_in_pieces(RPC, produce)
    headers = EVENTS | {"authorization": f"Bearer {key}"}
    async with house.client.stream("POST", PATH, headers=headers, json=BRIEF) as answer:
        await anext(answer.aiter_lines())
    await until(ended.is_set)


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("text/event-stream", True),
        ("application/json, text/event-stream;q=0.5", True),
        ("Text/Event-Stream", True),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream;q=0", False),
        ("", False),
    ],
)
def test_events_are_for_who_names_them(accept: str, taken: bool) -> None:
    assert takes_events(accept) is taken


async def test_events_go_on_to_their_end_while_the_process_stops(house: House, key: str) -> None:
    release = asyncio.Event()

    async def produce() -> AsyncGenerator[WriteMailEvent, None]:
        yield piece("<p")
        await release.wait()
        yield MAIL

    house.services["WritingService"].answer_in_pieces(RPC, produce)
    listen = free_address()
    headers = {"authorization": f"Bearer {key}", **EVENTS}
    async with gateway_process(environment(house, LISTEN=listen)) as process:
        await ready(f"http://{listen}")
        async with house.client.stream(
            "POST", f"http://{listen}{PATH}", headers=headers, json=BRIEF
        ) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: draft"
            process.send_signal(signal.SIGTERM)
            await until(lambda: refuses(listen), seconds=20)
            release.set()
            assert "event: mail" in [line async for line in lines]
        assert await asyncio.wait_for(process.wait(), 20) == 0


def refuses(address: str) -> bool:
    """Whether nobody takes connections there any more, as when clients have had the time to leave."""
    with socket.socket() as client:
        host, _, port = address.rpartition(":")
        return client.connect_ex((host, int(port))) != 0
