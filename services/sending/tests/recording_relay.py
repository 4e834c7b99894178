"""A mail relay in a process of its own, to be killed: it notes in a file what it takes before it says that it has.

`python -m services.sending.tests.recording_relay PORT FOLDER` runs it. What it does is ordered by a file that it looks at all the
time, so that a relay started anew does the same.
"""

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import uvloop

from chassis.tests.deadlines import until
from deploy.local.servers.program import HOST, listens
from deploy.local.state import SOURCES

_LOOKS_EVERY_SECONDS = 0.005
# Longer than any test holds it.
_PATIENCE_SECONDS = 600.0
_MESSAGE_ID = b"\r\nmessage-id:"


@dataclass(frozen=True, slots=True)
class Orders:
    """Take no more than `most` messages for now, and break the connection inside so many of all DATA."""

    most: int = sys.maxsize
    broken_share: float = 0.0


class Word(StrEnum):
    """What is noted."""

    # A relay has come; all connections of the one before it are cut.
    STARTED = "started"
    # The other side was told to go on with a body.
    BEGUN = "begun"
    # The whole body is here, and the other side will be told so.
    TAKEN = "taken"
    # The connection ended in good order.
    LEFT = "left"
    # It ended in any other way.
    CUT = "cut"


class Note(NamedTuple):
    """A line of the file."""

    word: Word
    connection: str = ""
    recipient: str = ""
    message_id: str = ""


@dataclass
class Record:
    """What relays have noted in a folder so far; `read` looks again."""

    folder: Path
    taken: list[Note] = field(default_factory=list)
    # Of each connection that was cut, the messages that the other side may have had no answer to: the body begun last, and the
    # one taken before, since its sender begins the next with the same words.
    cut: list[set[str]] = field(default_factory=list)
    _open: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _offset: int = 0

    def __post_init__(self) -> None:
        _file_of(self.folder).touch()

    def read(self) -> int:
        """Read what is new; answers how many messages were taken in all."""
        with _file_of(self.folder).open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.decode().splitlines():
            self._learn(_note(line))
        return len(self.taken)

    def order(self, orders: Orders) -> None:
        """Have whoever is the relay do this from now on."""
        with NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
            json.dump(asdict(orders), file)
        Path(file.name).replace(_orders_of(self.folder))

    def _learn(self, note: Note) -> None:
        match note.word:
            case Word.STARTED:
                for connection in list(self._open):
                    self._cut(connection)
            case Word.BEGUN:
                self._open[note.connection] = [*self._open[note.connection][-1:], note.recipient]
            case Word.TAKEN:
                self.taken.append(note)
            case Word.LEFT:
                self._open.pop(note.connection, None)
            case Word.CUT:
                self._cut(note.connection)

    def _cut(self, connection: str) -> None:
        if in_flight := self._open.pop(connection, None):
            self.cut.append(set(in_flight))


@dataclass(frozen=True, slots=True)
class RecordingRelay:
    """The relay as a server of a house."""

    port: int
    folder: Path

    @property
    def log(self) -> Path:
        """Where it writes what goes wrong with it."""
        return self.folder / "relay.log"

    def prepare(self) -> None:
        """It needs nothing."""

    def command(self) -> list[str]:
        """Run this module."""
        return [sys.executable, "-m", __name__, str(self.port), str(self.folder)]

    def popen_arguments(self) -> dict[str, object]:
        """In the sources."""
        return {"cwd": SOURCES, "env": os.environ | {"PYTHONPATH": str(SOURCES)}}

    def answers(self) -> bool:
        """Whether it takes connections."""
        return listens(self.port)


class _Relay:
    """The inside of the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = os.open(_file_of(folder), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._taken = Record(folder).read()
        self._orders = Orders()
        self._chance = Random()
        self._numbers = count()

    async def run(self, port: int) -> None:
        self._look()
        self._note(Note(Word.STARTED))
        async with await asyncio.start_server(self._session, HOST, port):
            while True:
                await asyncio.sleep(_LOOKS_EVERY_SECONDS)
                self._look()

    def _look(self) -> None:
        with suppress(FileNotFoundError):
            self._orders = Orders(**json.loads(_orders_of(self._folder).read_bytes()))

    def _note(self, note: Note) -> None:
        os.write(self._record, "\t".join(note).encode() + b"\n")

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = f"{os.getpid()}.{next(self._numbers)}"
        left = False
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            left = await self._talk(reader, writer, name)
        self._note(Note(Word.LEFT if left else Word.CUT, name))
        # Whoever has more to say gets no farewell.
        writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> bool:
        """Talk until the other side takes its leave, which is True, or until one of both breaks the connection."""
        writer.write(b"220 relay.test\r\n")
        recipient = ""
        while line := await reader.readline():
            match line[:4].upper():
                case b"EHLO":
                    writer.write(b"250-relay.test\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n")
                case b"RCPT":
                    recipient = line[line.index(b"<") + 1 : line.rindex(b">")].decode()
                    writer.write(b"250 2.1.5 OK\r\n")
                case b"DATA":
                    self._note(Note(Word.BEGUN, name, recipient))
                    writer.write(b"354 go on\r\n")
                    if not await self._take(reader, name, recipient):
                        return False
                    writer.write(b"250 2.0.0 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    await writer.drain()
                    return True
                case _:
                    writer.write(b"250 2.0.0 OK\r\n")
        return False

    async def _take(self, reader: asyncio.StreamReader, name: str, recipient: str) -> bool:
        """Take a body; False where the connection is to break instead, with the message taken or not."""
        breaks = self._chance.random() < self._orders.broken_share
        if breaks and self._chance.random() < 0.5:
            # In the midst of it, unless it is as short.
            await reader.read(self._chance.randrange(1, 1_000))
            return False
        content = await reader.readuntil(b"\r\n.\r\n")
        if self._taken >= self._orders.most:
            await until(lambda: self._taken < self._orders.most, _PATIENCE_SECONDS)
        self._taken += 1
        self._note(Note(Word.TAKEN, name, recipient, _message_id(content)))
        return not breaks


def _note(line: str) -> Note:
    word, *told = line.split("\t")
    return Note(Word(word), *told)


def _message_id(content: bytes) -> str:
    head = content.partition(b"\r\n\r\n")[0]
    at = (b"\r\n" + head.lower()).index(_MESSAGE_ID) + len(_MESSAGE_ID) - 2
    return head[at:].partition(b"\r\n")[0].strip().decode()


def _file_of(folder: Path) -> Path:
    return folder / "record"


def _orders_of(folder: Path) -> Path:
    return folder / "orders.json"


if __name__ == "__main__":
    # Also where tests run in the background of a shell, which has what it starts there ignore it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    uvloop.run(_Relay(Path(sys.argv[2])).run(int(sys.argv[1])))
