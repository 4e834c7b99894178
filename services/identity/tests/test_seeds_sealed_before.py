"""Seeds that were sealed before there were envelopes prove as ever, and are sealed again; a keeper that is away is said to be."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from chassis.context import Role
from chassis.database import Database, RoleDatabase
from chassis.errors import PermissionDenied, Unavailable
from chassis.sealing import Sealer
from chassis.tests.deadlines import until
from chassis.vault.envelopes import FORMAT
from chassis.vault.settings import former_sealer, wrapping_of
from chassis.vault.tests.test_wrapping import given_to_boto
from services.identity import memberships as members
from services.identity.second_factors import SEEDS
from services.identity.settings import IdentitySettings
from services.identity.tables import memberships, second_factors
from services.identity.tests.conftest import ServiceEnvironment, Start
from services.identity.tests.edge import Edge, Person
from services.identity.tests.test_second_factor import Device, enrolled, log_in

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Enrolled:
    """Somebody with a second factor."""

    person: Person
    device: Device
    recovery_codes: list[str]

    @property
    def user_id(self) -> UUID:
        return UUID(self.person.answer.user.id)


@dataclass(frozen=True)
class Seeds:
    """Seeds as they are stored, seen by who seals them again."""

    scheduler: RoleDatabase
    former: Sealer
    settings: IdentitySettings

    async def stored(self, who: Enrolled) -> bytes:
        theirs = select(second_factors.c.sealed_seed).where(second_factors.c.user_id == who.user_id)
        async with self.scheduler.transaction() as connection:
            return bytes((await connection.execute(theirs)).scalar_one())

    async def seal_as_before(self, who: Enrolled) -> None:
        seeds = SEEDS.envelopes("identity", wrapping_of(self.settings), None)
        seed = (await seeds.open(await self.stored(who), row=who.user_id)).reveal()
        place: dict[str, Any] = {"table": "second_factors", "row": who.user_id, "column": "sealed_seed"}
        theirs = update(second_factors).where(second_factors.c.user_id == who.user_id)
        async with self.scheduler.transaction() as connection:
            await connection.execute(theirs.values(sealed_seed=self.former.seal(seed, **place)))

    async def is_in_an_envelope(self, who: Enrolled) -> bool:
        return (await self.stored(who)).startswith(FORMAT)


@pytest.fixture
async def seeds(settings: IdentitySettings) -> AsyncIterator[Seeds]:
    former = former_sealer("identity", settings)
    assert former is not None
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield Seeds(scheduler, former, settings)


async def somebody(edge: Edge) -> Enrolled:
    person = await edge.sign_up()
    return Enrolled(person, *await enrolled(edge, person))


async def let_in_by_code(edge: Edge, database: Database, *people: Enrolled) -> None:
    """Each by a code of this moment, which they may have shown before."""
    for who in people:
        async with database.tenant_transaction(who.person.context) as session:
            await session.execute(
                update(second_factors).where(second_factors.c.user_id == who.user_id).values(last_step=0)
            )
        assert await log_in(edge, who.person, who.device.code(time.time()))


async def rewrap_keys(service_environment: ServiceEnvironment) -> asyncio.subprocess.Process:
    environment = service_environment("identity")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.identity", "rewrap-keys"),
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"},
        stdout=asyncio.subprocess.PIPE,
    )


async def test_seeds_of_before_prove_while_they_are_sealed_again_by_a_command_that_may_be_killed(
    *,
    edge: Edge,
    start: Start,
    database: Database,
    settings: IdentitySettings,
    seeds: Seeds,
    service_environment: ServiceEnvironment,
) -> None:
    people = sorted([await somebody(edge) for _ in range(4)], key=lambda who: who.user_id)
    for who in people:
        await seeds.seal_as_before(who)
    first, second, *rest = people
    in_two, in_none = rest
    async with database.tenant_transaction(first.person.context) as session:
        await members.add(session, in_two.user_id, Role.MEMBER)
    await let_in_by_code(edge, database, *people)
    async with database.tenant_transaction(in_none.person.context) as session:
        await session.execute(delete(memberships).where(memberships.c.user_id == in_none.user_id))
    with pytest.raises(PermissionDenied):
        await log_in(edge, in_none.person, in_none.device.code(time.time()))

    # It is killed as it waits for the second, whose row somebody holds.
    held = select(second_factors.c.user_id).where(second_factors.c.user_id == second.user_id)
    async with seeds.scheduler.transaction() as holding:
        await holding.execute(held.with_for_update())
        killed = await rewrap_keys(service_environment)
        await until(lambda: seeds.is_in_an_envelope(first), seconds=60)
        killed.kill()
        await killed.wait()
    assert [await seeds.is_in_an_envelope(who) for who in people] == [True, False, False, False]
    await let_in_by_code(edge, database, first, second, in_two)

    finishing = await rewrap_keys(service_environment)
    told, _ = await finishing.communicate()
    assert (finishing.returncode, told.splitlines()[-1]) == (
        0,
        b"3 of 3 values of second_factors.sealed_seed sealed again, 0 did not open",
    )
    assert all([await seeds.is_in_an_envelope(who) for who in people])
    async with database.tenant_transaction(in_none.person.context) as session:
        await members.add(session, in_none.user_id, Role.ORG_ADMIN)
    without_the_keys_of_before = await start(settings.model_copy(update={"sealing_keys": None}))
    await let_in_by_code(without_the_keys_of_before, database, *people)
    for who in people:
        with pytest.raises(KeyError):
            seeds.former.open(
                await seeds.stored(who), table="second_factors", row=who.user_id, column="sealed_seed"
            )


async def test_while_nobody_unwraps_keys_a_code_is_told_so_and_a_recovery_code_lets_in(
    edge: Edge, start: Start, settings: IdentitySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = await somebody(edge)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        given_to_boto(monkeypatch, f"http://127.0.0.1:{nobody.getsockname()[1]}")
    kms = {"key_encryption": "aws-kms", "key_encryption_keys": None, "kms_key_id": "alias/flownurture"}
    without_keeper, code = await start(settings.model_copy(update=kms)), who.device.code(time.time())
    with pytest.raises(Unavailable):
        await log_in(without_keeper, who.person, code)
    assert await log_in(without_keeper, who.person, who.recovery_codes[0])
    # It has not been used up.
    assert await log_in(edge, who.person, code)
