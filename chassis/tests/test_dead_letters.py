"""Dead letters: an operator sees what could not be handled, and the running process handles it again when asked."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import exc, text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.dead_letters import DeadLetter, Replays, park, parked, request_replay
from flownurture.events.v1.envelope_pb2 import Envelope


@dataclass
class Reader:
    """A consumer that keeps what it is given, or fails."""

    durable: str
    stream: str = "IDENTITY"
    error: Exception | None = None
    handled: list[bytes] = field(default_factory=list)

    async def handle(self, data: bytes) -> None:
        if self.error:
            raise self.error
        self.handled.append(data)


@pytest.fixture
def reader() -> Reader:
    """One whose process no other test knows."""
    return Reader(durable=f"probe {uuid4()}")


async def give_up(
    database: Database, reader: Reader, envelope: bytes = b"", error: str = "RuntimeError: no"
) -> None:
    await park(
        database,
        process=reader.durable,
        stream=reader.stream,
        subject="flownurture.identity.organization_created",
        envelope=envelope,
        deliveries=8,
        error=error,
    )


async def only(relay_database: RoleDatabase, reader: Reader) -> DeadLetter:
    [letter] = await parked(relay_database, reader.durable)
    return letter


async def test_an_operator_sees_what_was_parked_and_why(
    database: Database, relay_database: RoleDatabase, reader: Reader, context: RequestContext
) -> None:
    envelope = Envelope(type="flownurture.identity.v1.X", organization_id=str(context.organization))
    await give_up(database, reader, envelope.SerializeToString())
    letter = await only(relay_database, reader)
    assert (letter.type, letter.organization_id) == (envelope.type, envelope.organization_id)
    assert (letter.stream, letter.deliveries, letter.error) == ("IDENTITY", 8, "RuntimeError: no")
    assert letter.replay_requested_at is None


async def test_garbage_is_listed_too(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader, b"\xff\xff")
    assert (await only(relay_database, reader)).type == ""


async def test_a_process_sees_its_own_letters_only(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, Reader(durable="another"))
    assert await parked(relay_database, reader.durable) == []


async def test_what_is_replayed_with_success_leaves_the_table(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader, b"one")
    await give_up(database, reader, b"two")
    assert await request_replay(relay_database, reader.durable) == 2
    assert await Replays(relay_database, [reader]).round() == 2
    assert reader.handled == [b"one", b"two"]
    assert await parked(relay_database, reader.durable) == []


async def test_nothing_is_replayed_unasked(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader)
    assert await Replays(relay_database, [reader]).round() == 0
    assert reader.handled == []


async def test_only_the_letters_asked_for_are_replayed(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader, b"one")
    await give_up(database, reader, b"two")
    _, second = await parked(relay_database, reader.durable)
    assert await request_replay(relay_database, reader.durable, [second.id, UUID(int=0)]) == 1
    await Replays(relay_database, [reader]).round()
    assert reader.handled == [b"two"]


async def test_what_fails_again_stays_with_its_new_error_and_is_not_tried_in_a_loop(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader)
    reader.error = ValueError("still wrong")
    await request_replay(relay_database, reader.durable)
    replays = Replays(relay_database, [reader])
    assert (await replays.round(), await replays.round()) == (1, 0)
    letter = await only(relay_database, reader)
    assert (letter.error, letter.deliveries, letter.replay_requested_at) == (
        "ValueError: still wrong",
        9,
        None,
    )


@pytest.mark.parametrize("statement", ["SELECT * FROM dead_letters", "DELETE FROM dead_letters"])
async def test_the_app_role_may_park_and_no_more(database: Database, statement: str) -> None:
    with pytest.raises(exc.ProgrammingError, match="permission denied"):
        async with database.platform_transaction() as connection:
            await connection.execute(text(statement))


async def test_an_error_of_any_length_fits(
    database: Database, relay_database: RoleDatabase, reader: Reader
) -> None:
    await give_up(database, reader, error="x" * 100_000)
    assert len((await only(relay_database, reader)).error) == 2000
