"""What an organization seals opens in its own place only, by its own keys only, and never without what wrapped them."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database
from chassis.secret import Secret, SecretBytes
from chassis.tests.probe import Probe
from chassis.vault.data_keys import PACE, add_key, stored_keys
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.keyring import KEY_ID, Keyring, ReadOnlyKeyring
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen, Wrapped

# Other tests run on the same cores.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Place(TypedDict):
    table: str
    row: UUID
    column: str


def place() -> Place:
    return {"table": "things", "row": uuid4(), "column": "secret"}


def tenant() -> RequestContext:
    return RequestContext.of_process("probe", uuid4())


async def keyring_of(database: Database, vault: Vault, context: RequestContext) -> Keyring:
    async with database.tenant_transaction(context) as session:
        return await vault.keyring(session)


async def add_version(database: Database, vault: Vault, context: RequestContext, version: int) -> UUID:
    """Another key, which all have heard of."""
    key_id = uuid4()
    async with database.tenant_transaction(context) as session:
        await add_key(
            session, key_id, version, await vault.wrapped_key(context.organization, key_id, version)
        )
        await session.execute(
            text("UPDATE data_keys SET created_at = now() - :settled WHERE version = :version"),
            {"settled": PACE.settled_after, "version": version},
        )
    return key_id


def copied(probe: Probe, table: str) -> bytes:
    """All that a dump holds of a table."""
    with (
        psycopg.connect(probe.superuser_url().reveal()) as connection,
        connection.cursor().copy(f"COPY {probe.schema}.{table} TO STDOUT") as rows,
    ):
        return b"".join(bytes(row) for row in rows)


class CountingWrapping(FileWrapping):
    """Counts what it is asked."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        super().__init__(keys)
        self.unwrapped = 0

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        self.unwrapped += 1
        await asyncio.sleep(0)
        return await super().unwrap(wrapped, context)


async def test_what_is_sealed_opens_in_its_place_in_every_process_and_is_not_to_be_seen(
    database: Database, probe: Probe, wrapping: FileWrapping, context: RequestContext
) -> None:
    where = place()
    here = await keyring_of(database, Vault(probe.schema, wrapping), context)
    sealed = here.seal("plain wörds".encode(), **where)
    assert b"plain" not in sealed
    there = await keyring_of(database, Vault(probe.schema, wrapping), context)
    assert there.open(sealed, **where) == Secret("plain wörds")
    assert there.open_bytes(sealed, **where) == SecretBytes("plain wörds".encode())


async def test_the_same_sealed_twice_looks_different(
    database: Database, vault: Vault, context: RequestContext
) -> None:
    keyring, where = await keyring_of(database, vault, context), place()
    assert keyring.seal(b"plain", **where) != keyring.seal(b"plain", **where)


@pytest.mark.parametrize("elsewhere", [{"table": "others"}, {"row": uuid4()}, {"column": "other"}])
async def test_what_is_moved_to_another_place_does_not_open(
    database: Database, vault: Vault, context: RequestContext, elsewhere: dict[str, Any]
) -> None:
    keyring, where = await keyring_of(database, vault, context), place()
    sealed = keyring.seal(b"plain", **where)
    with pytest.raises(DoesNotOpen):
        keyring.open(sealed, **where | elsewhere)  # type: ignore[arg-type]


async def test_what_is_moved_to_another_organization_does_not_open_not_even_with_its_key(
    database: Database, vault: Vault, probe: Probe, wrapping: FileWrapping
) -> None:
    ours, theirs, where = tenant(), tenant(), place()
    sealed = (await keyring_of(database, vault, ours)).seal(b"plain", **where)
    with pytest.raises(DoesNotOpen):
        (await keyring_of(database, vault, theirs)).open(sealed, **where)
    probe.look(
        "UPDATE data_keys SET (id, wrapped) = (SELECT id, wrapped FROM data_keys WHERE organization_id = %s) "
        "WHERE organization_id = %s RETURNING 1",
        ours.organization,
        theirs.organization,
    )
    with pytest.raises(DoesNotOpen):
        await keyring_of(database, Vault(probe.schema, wrapping), theirs)


async def test_what_is_moved_to_another_schema_does_not_open(
    database: Database, vault: Vault, wrapping: FileWrapping, context: RequestContext
) -> None:
    await keyring_of(database, vault, context)
    with pytest.raises(DoesNotOpen):
        await keyring_of(database, Vault("another", wrapping), context)


async def test_what_is_said_to_be_sealed_by_another_version_does_not_open(
    database: Database, vault: Vault, probe: Probe, wrapping: FileWrapping, context: RequestContext
) -> None:
    where = place()
    sealed = (await keyring_of(database, vault, context)).seal(b"plain", **where)
    second = await add_version(database, vault, context, 2)
    keyring = await keyring_of(database, Vault(probe.schema, wrapping), context)
    assert keyring.open(sealed, **where).reveal() == "plain"
    with pytest.raises(DoesNotOpen):
        keyring.open(sealed[: KEY_ID.start] + second.bytes + sealed[KEY_ID.stop :], **where)
    probe.look(
        "UPDATE data_keys SET version = 3 WHERE organization_id = %s AND version = 1 RETURNING 1",
        context.organization,
    )
    with pytest.raises(DoesNotOpen):
        await keyring_of(database, Vault(probe.schema, wrapping), context)


async def test_not_one_changed_byte_opens(database: Database, vault: Vault, context: RequestContext) -> None:
    keyring, where = await keyring_of(database, vault, context), place()
    sealed = keyring.seal(b"plain", **where)

    @UNHURRIED
    @given(st.integers(0, len(sealed) - 1), st.integers(1, 255))
    def changed(position: int, difference: int) -> None:
        other = bytearray(sealed)
        other[position] ^= difference
        with pytest.raises(DoesNotOpen):
            keyring.open(bytes(other), **where)

    @UNHURRIED
    @given(st.integers(0, len(sealed) - 1))
    def cut(length: int) -> None:
        with pytest.raises(DoesNotOpen):
            keyring.open(sealed[:length], **where)

    @UNHURRIED
    @given(st.binary(max_size=100))
    def made_up(other: bytes) -> None:
        with pytest.raises(DoesNotOpen):
            keyring.open(other, **where)

    changed()
    cut()
    made_up()


async def test_what_is_no_text_opens_as_bytes_alone(
    database: Database, vault: Vault, context: RequestContext
) -> None:
    keyring, where = await keyring_of(database, vault, context), place()
    sealed = keyring.seal(b"\xff\xfe", **where)
    assert keyring.open_bytes(sealed, **where).reveal() == b"\xff\xfe"
    with pytest.raises(DoesNotOpen):
        keyring.open(sealed, **where)


async def test_a_dump_of_the_database_opens_nothing_without_the_key_that_wraps(
    database: Database, vault: Vault, probe: Probe, context: RequestContext
) -> None:
    sealed = (await keyring_of(database, vault, context)).seal(b"plain words", **place())
    probe.look(
        "INSERT INTO things (organization_id, name) VALUES (%s, %s) RETURNING 1",
        context.organization,
        sealed.hex(),
    )
    dump = b"".join(copied(probe, table) for table in ("data_keys", "things"))
    assert sealed.hex().encode() in dump
    assert b"plain words" not in dump
    thief = Vault(probe.schema, FileWrapping({"one": key_encryption_key()}))
    with pytest.raises(DoesNotOpen):
        await keyring_of(database, thief, context)


async def test_two_processes_that_make_the_first_key_at_once_agree_on_it(
    database: Database, probe: Probe, wrapping: FileWrapping, context: RequestContext
) -> None:
    where = place()
    async with Database(probe.url("app"), schema=probe.schema) as another:
        begun = asyncio.Barrier(2)

        async def seal(database: Database) -> bytes:
            async with database.tenant_transaction(context) as session:
                await session.execute(text("SELECT 1"))
                await begun.wait()
                return (await Vault(probe.schema, wrapping).keyring(session)).seal(b"plain", **where)

        sealed = await asyncio.gather(seal(database), seal(another))
    keyring = await keyring_of(database, Vault(probe.schema, wrapping), context)
    assert [keyring.open(one, **where).reveal() for one in sealed] == ["plain"] * 2
    async with database.tenant_transaction(context) as session:
        assert [key.version for key in await stored_keys(session)] == [1]


async def test_a_key_whose_transaction_was_undone_seals_nothing_of_others(
    database: Database, vault: Vault, context: RequestContext
) -> None:
    where = place()

    async def fail() -> bytes:
        async with database.tenant_transaction(context) as session:
            keyring = await vault.keyring(session)
            assert await vault.keyring(session) is keyring
            keyring.seal(b"lost", **where)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.tenant_transaction(context) as session:
        assert await stored_keys(session) == []
    sealed = (await keyring_of(database, vault, context)).seal(b"kept", **where)
    assert (await keyring_of(database, vault, context)).open(sealed, **where).reveal() == "kept"


async def test_what_may_only_be_read_makes_no_key(
    database: Database, vault: Vault, context: RequestContext
) -> None:
    async with database.tenant_transaction(context, read_only=True) as session:
        keyring = await vault.keyring(session)
        with pytest.raises(ReadOnlyKeyring):
            keyring.seal(b"plain", **place())
        assert await stored_keys(session) == []


async def test_a_key_seals_once_all_have_heard_of_it_and_the_old_one_still_opens(
    database: Database, vault: Vault, probe: Probe, wrapping: FileWrapping, context: RequestContext
) -> None:
    where = place()
    old = (await keyring_of(database, vault, context)).seal(b"old", **where)
    second = await add_version(database, vault, context, 2)
    probe.look(
        "UPDATE data_keys SET created_at = now() WHERE organization_id = %s AND version = 2 RETURNING 1",
        context.organization,
    )
    heard = await keyring_of(database, Vault(probe.schema, wrapping), context)
    assert heard.seal(b"x", **where)[KEY_ID] == old[KEY_ID]
    probe.look(
        "UPDATE data_keys SET created_at = now() - %s WHERE organization_id = %s AND version = 2 RETURNING 1",
        PACE.settled_after,
        context.organization,
    )
    settled = await keyring_of(database, Vault(probe.schema, wrapping), context)
    new = settled.seal(b"new", **where)
    assert new[KEY_ID] == second.bytes
    assert heard.open(new, **where).reveal() == "new"
    assert settled.open(old, **where).reveal() == "old"


async def test_keys_are_known_for_a_minute_and_those_of_so_many_organizations_only(
    database: Database, probe: Probe
) -> None:
    wrapping, now = CountingWrapping({"one": key_encryption_key()}), 0.0
    vault = Vault(probe.schema, wrapping, known_organizations=3, clock=lambda: now)
    tenants = [tenant() for _ in range(4)]
    for context in (*tenants, *tenants):
        await keyring_of(database, vault, context)
    assert wrapping.unwrapped == 4
    for context in tenants[1:]:
        await keyring_of(database, vault, context)
    assert wrapping.unwrapped == 4
    await keyring_of(database, vault, tenants[0])
    assert wrapping.unwrapped == 5
    now = PACE.known_for.total_seconds()
    await keyring_of(database, vault, tenants[0])
    assert wrapping.unwrapped == 6


async def test_a_key_that_many_ask_for_at_once_is_unwrapped_once(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    keys = {"one": key_encryption_key()}
    await keyring_of(database, Vault(probe.schema, FileWrapping(keys)), context)
    counting = CountingWrapping(keys)
    vault = Vault(probe.schema, counting)
    async with database.tenant_transaction(context) as one, database.tenant_transaction(context) as other:
        await asyncio.gather(vault.keyring(one), vault.keyring(other))
    assert counting.unwrapped == 1


async def test_what_an_organization_sealed_opens_never_again_once_its_keys_are_destroyed(
    database: Database, vault: Vault, context: RequestContext
) -> None:
    where = place()
    sealed = (await keyring_of(database, vault, context)).seal(b"plain", **where)
    async with database.tenant_transaction(context) as session:
        assert await vault.destroy(session) == 1
    with pytest.raises(DoesNotOpen):
        (await keyring_of(database, vault, context)).open(sealed, **where)


async def test_keys_of_before_open_what_they_wrapped_as_long_as_they_are_kept(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    old, new, where = key_encryption_key(), key_encryption_key(), place()
    sealed = (await keyring_of(database, Vault(probe.schema, FileWrapping({"old": old})), context)).seal(
        b"plain", **where
    )
    both = Vault(probe.schema, FileWrapping({"new": new, "old": old}))
    assert (await keyring_of(database, both, context)).open(sealed, **where).reveal() == "plain"
    with pytest.raises(DoesNotOpen):
        await keyring_of(database, Vault(probe.schema, FileWrapping({"new": new})), context)
