"""Events that could not be handled: parked in a table, for an operator to list and to replay.

A replay is asked for in the table and done by the running process, with the handlers and connections it has: nothing is
published again, so no other reader sees the event twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from google.protobuf.message import DecodeError
from sqlalchemy import text

from chassis.database import Database, RoleDatabase
from chassis.logs import logger
from chassis.scheduler import Periodic
from flownurture.events.v1.envelope_pb2 import Envelope

_LONGEST_ERROR = 2000
_REPLAY_WITHIN = timedelta(seconds=5)

_PARK = text("""
    INSERT INTO dead_letters (process, stream, subject, envelope, deliveries, error)
    VALUES (:process, :stream, :subject, :envelope, :deliveries, :error)
""")
_LIST = text("""
    SELECT id, stream, subject, envelope, deliveries, error, parked_at, replay_requested_at FROM dead_letters
    WHERE process = :process AND id > :after ORDER BY id LIMIT :size
""")
_REQUEST_ALL = text("UPDATE dead_letters SET replay_requested_at = now() WHERE process = :process")
_REQUEST = text(f"{_REQUEST_ALL.text} AND id = ANY(:ids)")
_TAKE = text("""
    UPDATE dead_letters SET replay_requested_at = NULL
    WHERE id IN (
        SELECT id FROM dead_letters
        WHERE process = :process AND replay_requested_at IS NOT NULL
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, stream, envelope
""")
_FAILED_AGAIN = text("UPDATE dead_letters SET error = :error, deliveries = deliveries + 1 WHERE id = :id")
_DONE = text("DELETE FROM dead_letters WHERE id = :id")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked event as an operator sees it; type and organization are empty when the envelope cannot be read."""

    id: UUID
    stream: str
    subject: str
    type: str
    organization_id: str
    deliveries: int
    error: str
    parked_at: datetime
    replay_requested_at: datetime | None


async def park(
    database: Database,
    *,
    process: str,
    stream: str,
    subject: str,
    envelope: bytes,
    deliveries: int,
    error: str,
) -> None:
    """Keep an event that was given up, with what went wrong."""
    async with database.platform_transaction() as connection:
        await connection.execute(
            _PARK,
            {
                "process": process,
                "stream": stream,
                "subject": subject,
                "envelope": envelope,
                "deliveries": deliveries,
                "error": error[:_LONGEST_ERROR],
            },
        )


async def parked(
    database: RoleDatabase, process: str, *, after: UUID | None = None, size: int = 1000
) -> list[DeadLetter]:
    """At most `size` parked events of a process, oldest first, from the one after `after` on.

    The relay's role may see them.
    """
    wanted = {"process": process, "after": after or UUID(int=0), "size": size}
    async with database.transaction() as connection:
        rows = (await connection.execute(_LIST, wanted)).mappings()
        return [_dead_letter(**row) for row in rows]


async def request_replay(database: RoleDatabase, process: str, ids: Sequence[UUID] | None = None) -> int:
    """Have the running process handle these events again, or all it has parked; answers how many."""
    async with database.transaction() as connection:
        if ids is None:
            return (await connection.execute(_REQUEST_ALL, {"process": process})).rowcount
        return (await connection.execute(_REQUEST, {"process": process, "ids": list(ids)})).rowcount


class Reader(Protocol):
    """What handles an event again: a consumer."""

    stream: str
    durable: str

    async def handle(self, data: bytes) -> None:
        """Handle an envelope; raises what its handler raises."""


class Replays:
    """Handles the parked events of a process whose replay was requested; what succeeds leaves the table."""

    def __init__(self, database: RoleDatabase, readers: Iterable[Reader]) -> None:
        self._database = database
        self._readers: Mapping[str, Reader] = {reader.stream: reader for reader in readers}
        self._process = next(iter(self._readers.values())).durable

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(_REPLAY_WITHIN, self.round).run()

    async def round(self) -> int:
        """Replay what is requested now; answers how many events that was."""
        replayed = 0
        while await self._replay_one():
            replayed += 1
        return replayed

    async def _replay_one(self) -> bool:
        # The request is cleared first: an event that kills the process is not taken again until somebody asks.
        async with self._database.transaction() as connection:
            row = (await connection.execute(_TAKE, {"process": self._process})).one_or_none()
        if row is None:
            return False
        try:
            await self._readers[row.stream].handle(row.envelope)
        except Exception as error:
            logger().exception("replay_failed", dead_letter=str(row.id))
            outcome, parameters = _FAILED_AGAIN, {"id": row.id, "error": describe(error)}
        else:
            outcome, parameters = _DONE, {"id": row.id}
        async with self._database.transaction() as connection:
            await connection.execute(outcome, parameters)
        return True


def describe(error: Exception) -> str:
    """An error in one line for the operator."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]


def _dead_letter(*, envelope: bytes, **columns: object) -> DeadLetter:
    try:
        read = Envelope.FromString(envelope)
    except DecodeError:
        read = Envelope()
    return DeadLetter(type=read.type, organization_id=read.organization_id, **columns)  # type: ignore[arg-type]
