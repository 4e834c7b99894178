"""Envelopes under another key-encryption key: all of them are sealed again while they are read, and the one before can be given up."""

import asyncio
import json
from base64 import b64encode
from os import urandom
from uuid import UUID, uuid4

import pytest
import typer
from sqlalchemy import Column, LargeBinary, MetaData, Table, Uuid, delete, insert, select, update
from typer.testing import CliRunner

from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.tests.probe import Probe
from chassis.vault.command import add_key_commands
from chassis.vault.envelope_columns import EnvelopeColumn
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.resealing import Resealing
from chassis.vault.rewrapping import Rewrapped
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.wrapping import DoesNotOpen, Wrapped, Wrapping

seeds = Table("seeds", MetaData(), Column("id", Uuid, primary_key=True), Column("sealed_seed", LargeBinary))
SEEDS = EnvelopeColumn(seeds, "sealed_seed", row="id")
OLD, NEW = key_encryption_key(), key_encryption_key()
BOTH = FileWrapping({"new": NEW, "old": OLD})


class Stored:
    """Seeds in a table of the probe's, and what they are."""

    def __init__(self, scheduler: RoleDatabase, schema: str) -> None:
        self.scheduler = scheduler
        self.schema = schema
        self.known: dict[UUID, bytes] = {}

    async def add(self, number: int, wrapping: Wrapping) -> list[UUID]:
        envelopes = SEEDS.envelopes(self.schema, wrapping, None)
        added = {uuid4(): urandom(20) for _ in range(number)}
        for row, seed in added.items():
            await self.put(row, await envelopes.seal(seed, row=row))
        self.known |= added
        return list(added)

    async def put(self, row: UUID, sealed: bytes) -> None:
        async with self.scheduler.transaction() as connection:
            await connection.execute(insert(seeds).values(id=row, sealed_seed=sealed))

    async def opened(self, wrapping: Wrapping) -> dict[UUID, bytes]:
        """All that opens with these keys."""
        envelopes, opened = SEEDS.envelopes(self.schema, wrapping, None), {}
        async with self.scheduler.transaction() as connection:
            rows = (await connection.execute(select(seeds))).all()
        for row in rows:
            try:
                opened[row.id] = (await envelopes.open(bytes(row.sealed_seed), row=row.id)).reveal()
            except DoesNotOpen:
                continue
        return opened

    async def seal_again(self, wrapping: Wrapping = BOTH, former: Sealer | None = None) -> Rewrapped:
        envelopes = SEEDS.envelopes(self.schema, wrapping, former)
        return await Resealing(self.scheduler, envelopes, SEEDS, tell=lambda _: None).run()


@pytest.fixture
async def stored(scheduler_database: RoleDatabase, probe: Probe) -> Stored:
    async with scheduler_database.transaction() as connection:
        await connection.execute(delete(seeds))
    return Stored(scheduler_database, probe.schema)


async def test_all_are_sealed_again_in_batches_and_the_old_key_opens_nothing_then(stored: Stored) -> None:
    await stored.add(120, FileWrapping({"old": OLD}))
    told: list[tuple[int, int]] = []

    def tell(so_far: Rewrapped) -> None:
        told.append((so_far.done, so_far.of))

    envelopes = SEEDS.envelopes(stored.schema, BOTH, None)
    resealing = Resealing(stored.scheduler, envelopes, SEEDS, tell=tell)
    done = await resealing.run()
    assert (done.done, done.of, done.did_not_open) == (120, 120, 0)
    assert told == [(100, 120), (120, 120)]
    assert await stored.opened(FileWrapping({"new": NEW})) == stored.known
    assert await stored.opened(FileWrapping({"old": OLD})) == {}
    assert (await resealing.run()).of == 0


async def test_a_run_that_was_cut_off_is_taken_up_where_it_stopped(stored: Stored) -> None:
    await stored.add(110, FileWrapping({"old": OLD}))

    def cut_off(_: Rewrapped) -> None:
        raise asyncio.CancelledError

    envelopes = SEEDS.envelopes(stored.schema, BOTH, None)
    with pytest.raises(asyncio.CancelledError):
        await Resealing(stored.scheduler, envelopes, SEEDS, tell=cut_off).run()
    # Whatever it did, all of it is to be read.
    assert await stored.opened(BOTH) == stored.known
    rest = await stored.seal_again()
    assert (rest.done, rest.of) == (10, 10)
    assert await stored.opened(FileWrapping({"new": NEW})) == stored.known


async def test_what_was_sealed_before_there_were_envelopes_is_sealed_again_too(stored: Stored) -> None:
    former, row = Sealer(stored.schema, {"before": Secret(b64encode(urandom(32)).decode())}), uuid4()
    await stored.put(row, former.seal(b"seed", table="seeds", row=row, column="sealed_seed"))
    assert (await stored.seal_again(former=former)).done == 1
    assert await stored.opened(FileWrapping({"new": NEW})) == {row: b"seed"}


async def test_what_does_not_open_stays_is_told_and_keeps_nothing_else_back(stored: Stored) -> None:
    (lost,) = await stored.add(1, FileWrapping({"lost": key_encryption_key()}))
    await stored.add(3, FileWrapping({"old": OLD}))
    seed = stored.known.pop(lost)
    done = await stored.seal_again()
    assert (done.done, done.of, done.did_not_open) == (3, 4, 1)
    assert await stored.opened(FileWrapping({"new": NEW})) == stored.known
    assert seed not in stored.known.values()


async def test_what_was_written_meanwhile_is_not_written_over(stored: Stored) -> None:
    (row,) = await stored.add(1, FileWrapping({"old": OLD}))
    fresh = await SEEDS.envelopes(stored.schema, FileWrapping({"new": NEW}), None).seal(b"fresh", row=row)

    class Overtaken(FileWrapping):
        async def wrap(self, *asked: object) -> Wrapped:
            async with stored.scheduler.transaction() as connection:
                await connection.execute(update(seeds).where(seeds.c.id == row).values(sealed_seed=fresh))
            return await super().wrap(*asked)  # type: ignore[arg-type]

    done = await stored.seal_again(Overtaken({"new": NEW, "old": OLD}))
    assert (done.done, done.of, done.did_not_open) == (0, 1, 0)
    assert await stored.opened(BOTH) == {row: b"fresh"}


async def test_a_keeper_that_fails_halfway_loses_nothing(stored: Stored) -> None:
    for _ in range(20):
        # Each with a data key of its own.
        await stored.add(1, FileWrapping({"old": OLD}))

    class Failing(FileWrapping):
        calls = 0

        async def unwrap(self, *asked: object) -> bytes:
            Failing.calls += 1
            if Failing.calls == 10:
                raise Unavailable
            return await super().unwrap(*asked)  # type: ignore[arg-type]

    with pytest.raises(Unavailable):
        await stored.seal_again(Failing({"new": NEW, "old": OLD}))
    assert await stored.opened(BOTH) == stored.known
    assert (await stored.seal_again()).of == 11


async def test_the_command_tells_of_keys_and_of_each_column(
    stored: Stored, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe.look("DELETE FROM data_keys RETURNING 1")
    await stored.add(2, FileWrapping({"old": OLD}))
    for role, name in {
        "app": "DATABASE_URL",
        "relay": "DATABASE_RELAY_URL",
        "scheduler": "DATABASE_SCHEDULER_URL",
    }.items():
        monkeypatch.setenv(name, probe.url(role).reveal())
    monkeypatch.setenv("KEY_ENCRYPTION_KEYS", json.dumps({"new": NEW.reveal(), "old": OLD.reveal()}))
    app = typer.Typer()
    add_key_commands(app, probe.schema, [], [SEEDS])

    async def run() -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["rewrap-keys"])
        return result.exit_code, result.stdout

    assert await run() == (
        0,
        "0 of 0 keys wrapped again, 0 did not open\n"
        "2 of 2 values of seeds.sealed_seed sealed again, 0 did not open\n",
    )
    await stored.add(1, FileWrapping({"lost": key_encryption_key()}))
    assert await run() == (
        1,
        "0 of 0 keys wrapped again, 0 did not open\n"
        "0 of 1 values of seeds.sealed_seed sealed again, 1 did not open\n",
    )
