"""A language model's API on a socket, as OpenAI publishes it (chat completions, streamed), that answers as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Says:
    """An answer, in pieces of a few characters, and what it cost; the API may not tell that."""

    text: str
    tokens: int | None = 100
    # Whether the connection ends in the middle of the text.
    breaks_off: bool = False
    # After half of it, nothing more comes until this is set.
    until: asyncio.Event | None = None


@dataclass(frozen=True)
class Fails:
    """An answer that is none."""

    status: int
    message: str = "no"
    headers: str = "retry-after-ms: 1\r\n"


@dataclass(frozen=True)
class HangsUp:
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Raw:
    """An answer of 200 with this for a body, whatever that is."""

    body: str


class Asks:
    """An answer that asks for tools, each by its name and its arguments, which may be no JSON."""

    def __init__(self, *calls: tuple[str, Json | str]) -> None:
        self.calls = calls


Turn: TypeAlias = Says | Asks | Fails | HangsUp | Raw
# What the model does with what it is asked.
Mind: TypeAlias = Callable[[Json], Turn]


def a_mail(html: str = "<p>Dear {{ contact.first_name | default: 'you' }}</p>", **lines: str) -> str:
    """A draft as the model is to give it."""
    subjects = lines or {"Spring is here": "And so are we"}
    return json.dumps(
        {
            "subject_lines": [{"subject": key, "preheader": value} for key, value in subjects.items()],
            "html": html,
        }
    )


@dataclass
class ModelServer:
    """What it does next, and what it was asked."""

    url: str = ""
    turns: list[Turn] = field(default_factory=list)
    mind: Mind | None = None
    asked: list[Json] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    # Connections that the other side ended before the answer did.
    left: int = 0

    def does(self, *turns: Turn) -> None:
        """Do this, one after the other."""
        self.turns = list(turns)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and end the connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
            request = json.loads(await reader.readexactly(int(headers["content-length"])))
            assert head.startswith("POST /v1/chat/completions ")
            self.credentials.append(headers.get("authorization", ""))
            self.asked.append(request)
            await self._answer(reader, writer, self.mind(request) if self.mind else self.turns.pop(0))
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: Turn) -> None:
        asked = self.asked[-1]
        if isinstance(turn, Raw):
            _write_whole(writer, turn.body)
            await writer.drain()
        elif not asked.get("stream") and isinstance(turn, Says | Asks):
            if isinstance(turn, Says) and turn.until is not None:
                await self._held(reader, turn.until)
            _reply(writer, turn)
            await writer.drain()
        elif isinstance(turn, Says):
            await self._say(reader, writer, turn)
        elif isinstance(turn, Fails):
            body = json.dumps({"error": {"message": turn.message, "type": "x"}})
            writer.write(
                f"HTTP/1.1 {turn.status} X\r\ncontent-type: application/json\r\n{turn.headers}"
                f"content-length: {len(body.encode())}\r\nconnection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: Says) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        pieces = [turn.text[at : at + 7] for at in range(0, len(turn.text), 7)]
        for number, piece in enumerate(pieces):
            if number == len(pieces) // 2:
                if turn.breaks_off:
                    return
                if turn.until is not None:
                    await self._held(reader, turn.until)
            _write(writer, {"choices": [{"index": 0, "delta": {"content": piece}}]})
            await writer.drain()
        _write(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if turn.tokens is not None:
            usage = {"prompt_tokens": 1, "completion_tokens": turn.tokens - 1, "total_tokens": turn.tokens}
            _write(writer, {"choices": [], "usage": usage})
        _write(writer, None)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _held(self, reader: asyncio.StreamReader, until: asyncio.Event) -> None:
        """Wait for the test, or for the other side to leave."""
        gone, going_on = asyncio.create_task(reader.read()), asyncio.create_task(until.wait())
        done, waiting = await asyncio.wait((gone, going_on), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if gone in done:
            self.left += 1
            raise ConnectionResetError


def _reply(writer: asyncio.StreamWriter, turn: Says | Asks) -> None:
    message: Json = {"role": "assistant", "content": turn.text if isinstance(turn, Says) else None}
    if isinstance(turn, Asks):
        message["tool_calls"] = [
            {
                "id": f"call-{number}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for number, (name, arguments) in enumerate(turn.calls)
        ]
    answer: Json = {"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    tokens = turn.tokens if isinstance(turn, Says) else 100
    if tokens is not None:
        answer["usage"] = {"prompt_tokens": 1, "completion_tokens": tokens - 1, "total_tokens": tokens}
    _write_whole(writer, json.dumps(answer))


def _write_whole(writer: asyncio.StreamWriter, body: str) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n%b" % (len(body.encode()), body.encode()))


def all_that_was_given(request: Json) -> str:
    """What the tools have given the model so far."""
    return "\n".join(message["content"] for message in request["messages"] if message["role"] == "tool")


def _write(writer: asyncio.StreamWriter, chunk: Json | None) -> None:
    told = "[DONE]" if chunk is None else json.dumps({"id": "1", "object": "chat.completion.chunk"} | chunk)
    data = f"data: {told}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


@asynccontextmanager
async def serving() -> AsyncIterator[ModelServer]:
    """A model's API on a port of its own."""
    model = ModelServer()
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield model
