"""Another key-encryption key: all data keys are wrapped again while they are used, and the one before can be given up."""

import asyncio
from uuid import uuid4

import pytest

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import Unavailable
from chassis.tests.probe import Probe
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.rewrapping import Rewrapped, Rewrapping
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.tests.things import Notes, in_use
from chassis.vault.vault import Vault
from chassis.vault.wrapping import Wrapping


@pytest.fixture(autouse=True)
def no_other_keys(probe: Probe) -> None:
    probe.look("DELETE FROM data_keys RETURNING 1")


async def written(database: Database, vault: Vault, number: int) -> list[Notes]:
    organizations = [
        Notes(database, vault, RequestContext.of_process("probe", uuid4())) for _ in range(number)
    ]
    for notes in organizations:
        await notes.add("first")
        await notes.add("second")
    return organizations


def with_keys(probe: Probe, wrapping: Wrapping) -> Vault:
    return Vault(probe.schema, wrapping, known_organizations=0)


async def test_all_keys_are_wrapped_again_while_they_are_used_and_the_old_key_opens_nothing_then(
    database: Database, scheduler_database: RoleDatabase, probe: Probe
) -> None:
    old, new = key_encryption_key(), key_encryption_key()
    before, both = FileWrapping({"old": old}), FileWrapping({"new": new, "old": old})
    organizations = await written(database, with_keys(probe, before), 120)
    used = organizations[7]
    told: list[tuple[int, int]] = []

    def tell(so_far: Rewrapped) -> None:
        told.append((so_far.done, so_far.of))

    reader = Notes(database, with_keys(probe, both), used.context)
    used.vault = with_keys(probe, both)
    async with in_use(used, reader):
        rewrapping = Rewrapping(database, scheduler_database, with_keys(probe, both), tell=tell)
        done = await rewrapping.run()
    assert (done.done, done.of, done.did_not_open) == (120, 120, 0)
    assert told == [(100, 120), (120, 120)]
    after = with_keys(probe, FileWrapping({"new": new}))
    for notes in organizations:
        assert await Notes(database, after, notes.context).read() == notes.known
    assert (await rewrapping.run()).of == 0


async def test_a_run_that_was_cut_off_is_taken_up_where_it_stopped(
    database: Database, scheduler_database: RoleDatabase, probe: Probe
) -> None:
    old, new = key_encryption_key(), key_encryption_key()
    both = FileWrapping({"new": new, "old": old})
    organizations = await written(database, with_keys(probe, FileWrapping({"old": old})), 110)

    def cut_off(_: Rewrapped) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Rewrapping(database, scheduler_database, with_keys(probe, both), tell=cut_off).run()
    rest = await Rewrapping(database, scheduler_database, with_keys(probe, both), tell=lambda _: None).run()
    assert (rest.done, rest.of) == (10, 10)
    after = with_keys(probe, FileWrapping({"new": new}))
    for notes in organizations:
        assert await Notes(database, after, notes.context).read() == notes.known


async def test_a_key_that_does_not_open_is_told_and_keeps_nobody_else_back(
    database: Database, scheduler_database: RoleDatabase, probe: Probe
) -> None:
    old, new = key_encryption_key(), key_encryption_key()
    await written(database, with_keys(probe, FileWrapping({"lost": key_encryption_key()})), 1)
    await written(database, with_keys(probe, FileWrapping({"old": old})), 3)
    both = FileWrapping({"new": new, "old": old})
    done = await Rewrapping(database, scheduler_database, with_keys(probe, both), tell=lambda _: None).run()
    assert (done.done, done.of, done.did_not_open) == (3, 4, 1)


async def test_a_keeper_that_fails_halfway_loses_nothing(
    database: Database, scheduler_database: RoleDatabase, probe: Probe
) -> None:
    old, new = key_encryption_key(), key_encryption_key()
    organizations = await written(database, with_keys(probe, FileWrapping({"old": old})), 20)

    class Failing(FileWrapping):
        calls = 0

        async def unwrap(self, *asked: object) -> bytes:
            Failing.calls += 1
            if Failing.calls == 10:
                raise Unavailable
            return await super().unwrap(*asked)  # type: ignore[arg-type]

    keys = {"new": new, "old": old}
    with pytest.raises(Unavailable):
        await Rewrapping(
            database, scheduler_database, with_keys(probe, Failing(keys)), tell=lambda _: None
        ).run()
    for notes in organizations:
        assert (
            await Notes(database, with_keys(probe, FileWrapping(keys)), notes.context).read() == notes.known
        )
