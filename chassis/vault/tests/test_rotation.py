"""New data keys: everything is sealed again by them while it is read and written, and the old ones are destroyed."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.tests.probe import Probe
from chassis.vault.data_keys import Pace, stored_keys
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.keyring import KEY_ID
from chassis.vault.rotation import Rotated, Rotation
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.tests.things import NOTES, Notes, in_use
from chassis.vault.vault import Vault

# Processes that live as fast as the test does.
QUICK = Pace(known_for=timedelta(seconds=0.2), settled_after=timedelta(seconds=0.6))


@pytest.fixture(autouse=True)
def nothing_else(probe: Probe) -> None:
    probe.look("DELETE FROM data_keys RETURNING 1")
    probe.look("DELETE FROM things RETURNING 1")


def quick(probe: Probe, wrapping: FileWrapping) -> Vault:
    return Vault(probe.schema, wrapping, pace=QUICK)


def rotation(
    database: Database, scheduler: RoleDatabase, probe: Probe, wrapping: FileWrapping, told: list[Rotated]
) -> Rotation:
    vault = Vault(probe.schema, wrapping, known_organizations=0, pace=QUICK)
    return Rotation(database, scheduler, vault, [NOTES], tell=told.append, pause=asyncio.sleep, pace=QUICK)


async def noted(database: Database, vault: Vault, number: int) -> Notes:
    notes = Notes(database, vault, RequestContext.of_process("probe", uuid4()))
    for turn in range(number):
        await notes.add(f"note {turn}")
    return notes


async def versions(notes: Notes) -> list[int]:
    async with notes.database.tenant_transaction(notes.context) as session:
        return [key.version for key in await stored_keys(session)]


def sealing_keys(probe: Probe, notes: Notes) -> set[bytes]:
    rows = probe.look(
        "SELECT sealed_note FROM things WHERE organization_id = %s AND sealed_note IS NOT NULL",
        notes.context.organization,
    )
    return {bytes(sealed)[KEY_ID] for (sealed,) in rows}


async def test_all_is_sealed_again_while_it_is_read_and_written_and_the_old_keys_are_destroyed(
    database: Database, scheduler_database: RoleDatabase, probe: Probe, wrapping: FileWrapping
) -> None:
    organizations = [await noted(database, quick(probe, wrapping), 250) for _ in range(2)]
    before = [sealing_keys(probe, notes) for notes in organizations]
    used = organizations[0]
    reader = Notes(database, quick(probe, wrapping), used.context)
    told: list[Rotated] = []
    async with in_use(used, reader):
        done = await rotation(database, scheduler_database, probe, wrapping, told).run(datetime.now(UTC))
    assert (done.organizations, done.finished, done.keys, done.did_not_open) == (2, 2, 2, 0)
    assert done.values >= 250
    assert told
    for notes, old in zip(organizations, before, strict=True):
        assert await Notes(database, quick(probe, wrapping), notes.context).read() == notes.known
        assert await versions(notes) == [2]
        assert len(sealing_keys(probe, notes)) == 1
        assert not sealing_keys(probe, notes) & old


@pytest.mark.parametrize("after_turns", [1, 3, 5])
async def test_a_run_that_was_cut_off_is_taken_up_where_it_stopped(
    database: Database,
    scheduler_database: RoleDatabase,
    probe: Probe,
    wrapping: FileWrapping,
    after_turns: int,
) -> None:
    organizations = [await noted(database, quick(probe, wrapping), 3) for _ in range(2)]
    begun = datetime.now(UTC)
    told: list[Rotated] = []

    class CutOff(list[Rotated]):
        def append(self, so_far: Rotated) -> None:
            super().append(so_far)
            if len(self) == after_turns:
                raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await rotation(database, scheduler_database, probe, wrapping, CutOff()).run(begun)
    for notes in organizations:
        assert await Notes(database, quick(probe, wrapping), notes.context).read() == notes.known
    rest = await rotation(database, scheduler_database, probe, wrapping, told).run(begun)
    assert rest.keys == 0
    for notes in organizations:
        assert await Notes(database, quick(probe, wrapping), notes.context).read() == notes.known
        assert await versions(notes) == [2]


async def test_keys_that_are_young_are_left_alone(
    database: Database, scheduler_database: RoleDatabase, probe: Probe, wrapping: FileWrapping
) -> None:
    notes = await noted(database, quick(probe, wrapping), 2)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    done = await rotation(database, scheduler_database, probe, wrapping, []).run(yesterday)
    assert (done.organizations, done.finished, done.keys, done.values) == (1, 1, 0, 0)
    assert await versions(notes) == [1]


async def test_what_does_not_open_is_told_and_keeps_the_keys_of_its_organization(
    database: Database, scheduler_database: RoleDatabase, probe: Probe, wrapping: FileWrapping
) -> None:
    spoiled, sound = [await noted(database, quick(probe, wrapping), 3) for _ in range(2)]
    probe.look(
        "UPDATE things SET sealed_note = set_byte(sealed_note, 40, 255 - get_byte(sealed_note, 40)) "
        "WHERE organization_id = %s AND id = %s RETURNING 1",
        spoiled.context.organization,
        next(iter(spoiled.known)),
    )
    done = await rotation(database, scheduler_database, probe, wrapping, []).run(datetime.now(UTC))
    assert (done.finished, done.values, done.did_not_open) == (2, 5, 1)
    assert await versions(spoiled) == [1, 2]
    assert await versions(sound) == [2]


async def test_an_organization_whose_key_is_lost_keeps_nobody_else_back(
    database: Database, scheduler_database: RoleDatabase, probe: Probe, wrapping: FileWrapping
) -> None:
    await noted(database, quick(probe, FileWrapping({"lost": key_encryption_key()})), 1)
    sound = await noted(database, quick(probe, wrapping), 1)
    done = await rotation(database, scheduler_database, probe, wrapping, []).run(datetime.now(UTC))
    assert (done.organizations, done.finished, done.did_not_open) == (2, 2, 1)
    assert await versions(sound) == [2]


async def test_who_keeps_nothing_sealed_gets_no_key(
    database: Database, scheduler_database: RoleDatabase, probe: Probe, wrapping: FileWrapping
) -> None:
    context = RequestContext.of_process("probe", uuid4())
    probe.look(
        "INSERT INTO things (organization_id, name) VALUES (%s, 'bare') RETURNING 1", context.organization
    )
    await rotation(database, scheduler_database, probe, wrapping, []).run(datetime.now(UTC))
    async with database.tenant_transaction(context) as session:
        assert await stored_keys(session) == []
