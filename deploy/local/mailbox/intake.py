"""What is accepted is committed before it is acknowledged: one writer, and one commit for all that came meanwhile."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
import structlog
from prometheus_client import Counter

from deploy.local.mailbox.addresses import Behaviour
from deploy.local.mailbox.feedback import Cause, Feedback
from deploy.local.mailbox.store import Store
from deploy.local.mailbox.summary import summarize

_MOST_IN_A_COMMIT = 500

ACCEPTED = Counter("mailbox_messages_accepted_total", "Messages that were accepted and stored.")
UNSTORED = Counter("mailbox_messages_unstored_total", "Messages that could not be stored and were refused.")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message with its envelope."""

    sender: str
    recipients: tuple[tuple[str, Behaviour], ...]
    content: bytes
    received_at: float = field(default_factory=time.time)


# Called with the id that a message is kept under, or with None when it cannot be kept.
Kept = Callable[[int | None], None]


class Intake:
    """Takes messages from the event loop and writes them from a thread of its own."""

    def __init__(self, store: Store, feedback: Feedback | None) -> None:
        self._store = store
        self._feedback = feedback
        self._waiting: queue.SimpleQueue[tuple[Accepted, Kept] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        # Done when the writer ended, whatever ended it: without it nothing can be accepted.
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._write_until_closed, name="intake", daemon=True)
        self._thread.start()

    def keep(self, message: Accepted, kept: Kept) -> None:
        """Store the message; `kept` is called in the event loop when that is done."""
        self._waiting.put((message, kept))

    async def close(self) -> None:
        """Store what was given, then end."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _write_until_closed(self) -> None:
        connection = self._store.connect()
        try:
            while batch := self._next_batch():
                ids = self._write(connection, [message for message, _ in batch])
                answers = [(kept, ids[index] if ids else None) for index, (_, kept) in enumerate(batch)]
                self._loop.call_soon_threadsafe(_answer, answers)
        finally:
            connection.close()
            self._loop.call_soon_threadsafe(self.ended.set_result, None)

    def _next_batch(self) -> list[tuple[Accepted, Kept]]:
        """Wait for a message and take those that are there with it; empty at the end."""
        batch = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _MOST_IN_A_COMMIT:
                return batch
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._waiting.put(None)
        return batch

    def _write(self, connection: sqlite3.Connection, messages: list[Accepted]) -> list[int]:
        """Commit the messages and the reports they will cause; empty when that failed."""
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                ids = [_insert(connection, message) for message in messages]
                connection.executemany(
                    "INSERT OR IGNORE INTO recipients (address, message_id) VALUES (?, ?)",
                    [
                        (address.casefold(), message_id)
                        for message_id, message in zip(ids, messages, strict=True)
                        for address, _ in message.recipients
                    ],
                )
                causes = _causes(messages) if self._feedback else []
                if self._feedback and causes:
                    self._feedback.schedule(connection, causes)
        except sqlite3.Error as error:
            structlog.get_logger().warning("mail_not_stored", messages=len(messages), error=str(error))
            UNSTORED.inc(len(messages))
            return []
        if self._feedback and causes:
            self._feedback.look_again()
        ACCEPTED.inc(len(messages))
        return ids


def _insert(connection: sqlite3.Connection, message: Accepted) -> int:
    summary = summarize(message.content)
    recipients = orjson.dumps([address for address, _ in message.recipients]).decode()
    cursor = connection.execute(
        "INSERT INTO messages (received_at, sender, recipients, from_address, subject, content)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            message.received_at,
            message.sender,
            recipients,
            summary.from_address,
            summary.subject,
            message.content,
        ),
    )
    assert cursor.lastrowid is not None  # noqa: S101 — tells the type
    return cursor.lastrowid


def _causes(messages: list[Accepted]) -> list[Cause]:
    """What will be reported about the messages."""
    return [
        Cause(behaviour.report, message.sender, address, message.received_at, message.content)
        for message in messages
        for address, behaviour in message.recipients
        if behaviour.report
    ]


def _answer(answers: list[tuple[Kept, int | None]]) -> None:
    for kept, message_id in answers:
        kept(message_id)
