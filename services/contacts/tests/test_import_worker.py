"""Imports survive their workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.csv_rows import Position
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.email_address import EmailAddress
from chassis.tests.deadlines import until
from flownurture.contacts.v1 import imports_pb2 as pb
from flownurture.contacts.v1 import lists_pb2
from services.contacts import jobs
from services.contacts.import_chunks import store_chunk
from services.contacts.import_rows import Chunk, Person
from services.contacts.import_worker import import_worker
from services.contacts.imports import Options, create_import
from services.contacts.job_figures import unfinished
from services.contacts.jobs import MOST_ATTEMPTS, Lease, LeaseLost, Unworkable, claim, fence, release
from services.contacts.tables import imports
from services.contacts.tests.tenant import Tenant, Workers
from services.contacts.uploads import Upload

CHUNK_ROWS = 7
ROWS = [
    *(f"r{number}@example.com,R{number}," for number in range(20)),
    "r3@example.com,again,",
    '"broken',
    "no-address,X,",
    'long@example.com,Long,"two\nlines"',
    *(f"s{number}@example.com,S{number}," for number in range(10)),
    "r19@example.com,again,",
]
FILE = ("email,first name,notes\n" + "\n".join(ROWS)).encode()


class Killed(BaseException):
    """The end of a worker that has no time to tidy up."""


class MortalDatabase(Database):
    """A database whose user dies in its n-th transaction: at the start, or when all but the commit is done."""

    def __init__(self, database: Database, dies_in: int, *, at_the_end: bool) -> None:
        self._database = database
        self._left = dies_in
        self._at_the_end = at_the_end

    @asynccontextmanager
    async def tenant_transaction(
        self, context: RequestContext, read_only: bool = False
    ) -> AsyncIterator[TenantSession]:
        self._left -= 1
        if self._left == 0 and not self._at_the_end:
            raise Killed
        async with self._database.tenant_transaction(context, read_only) as session:
            yield session
            if self._left == 0:
                raise Killed


async def expire_leases(tenant: Tenant) -> None:
    await tenant.execute("UPDATE imports SET lease_until = now() - interval '1 second'")


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("dies_in", range(1, 10))
async def test_an_import_whose_worker_dies_goes_on_where_it_was(
    tenant: Tenant, scheduler: RoleDatabase, database: Database, dies_in: int, at_the_end: bool
) -> None:
    readers = await tenant.add_list()
    waiting = await tenant.upload(FILE, list_id=readers.id)
    mortal = import_worker(
        MortalDatabase(database, dies_in, at_the_end=at_the_end), scheduler, chunk_rows=CHUNK_ROWS
    )
    try:
        await mortal.take_turn(tenant.context, UUID(waiting.id))
    except Killed:
        await expire_leases(tenant)
    found = await tenant.finish(waiting.id)
    assert found.status == pb.IMPORT_STATUS_COMPLETED
    assert (found.processed_rows, found.created_contacts, found.updated_contacts) == (35, 31, 0)
    assert (found.duplicate_rows, found.failed_rows) == (2, 2)
    assert [(error.line, error.field) for error in found.errors] == [(23, ""), (24, "email")]
    everybody = await tenant.everybody()
    assert len(everybody) == (await tenant(lists_pb2.GetListRequest(list_id=readers.id))).contact_count == 31
    assert (everybody["r3@example.com"].first_name, everybody["r19@example.com"].first_name) == ("R3", "R19")
    told = [contact.email for event in await tenant.told_of_created() for contact in event.contacts]
    assert sorted(told) == sorted(everybody)


async def taken_on(tenant: Tenant, database: Database, file: bytes = FILE) -> Lease:
    """An import with its lease taken, before any worker could see it."""
    with Upload() as upload:
        await upload.write(file)
        async with database.tenant_transaction(tenant.context) as session:
            created = await create_import(session, Options(), upload)
            claimed = await claim(session, imports, created.id)
    assert claimed is not None
    return claimed[0]


async def test_an_import_that_is_not_finished_is_counted_with_how_long_ago_it_was_asked_for(
    tenant: Tenant, scheduler: RoleDatabase, database: Database
) -> None:
    await taken_on(tenant, database)
    async with scheduler.transaction() as connection:
        before = {
            status: (items, oldest)
            for status, items, oldest in await connection.execute(unfinished("imports"))
        }
    assert before["running"][0] >= 1
    assert before["running"][1] > 0


async def test_nobody_else_takes_an_import_that_is_worked_on(tenant: Tenant, database: Database) -> None:
    lease = await taken_on(tenant, database)
    async with database.tenant_transaction(tenant.context) as session:
        assert await claim(session, imports, lease.job_id) is None
        assert (await fence(session, lease)).id == lease.job_id


async def test_who_lost_the_lease_writes_nothing_more(tenant: Tenant, database: Database) -> None:
    first = await taken_on(tenant, database)
    async with database.tenant_transaction(tenant.context) as session:
        await session.execute(text("UPDATE imports SET lease_until = now()"))
        second = await claim(session, imports, first.job_id)
    assert second is not None
    chunk = Chunk([Person(2, EmailAddress.parse("x@example.com"), "", "")], [], 0, Position(10, 3), True)
    with pytest.raises(LeaseLost):
        async with database.tenant_transaction(tenant.context) as session:
            await store_chunk(session, first, chunk)
    async with database.tenant_transaction(tenant.context) as session:
        await release(session, first)
        assert (await fence(session, second[0])).processed_rows == 0
    assert await tenant.count("contacts") == 0


async def test_imports_of_an_organization_go_in_one_after_the_other(
    tenant: Tenant, database: Database, workers: Workers
) -> None:
    first = await taken_on(tenant, database, b"email,first name\nada@example.com,Ada\n")
    second = await tenant.upload(b"email,first name\nada@example.com,Augusta\n")
    await workers.imports.take_turn(tenant.context, UUID(second.id))
    still = await tenant(pb.GetImportRequest(import_id=second.id))
    assert still.status == pb.IMPORT_STATUS_PENDING
    await expire_leases(tenant)
    await tenant.finish(str(first.job_id))
    await tenant.finish(second.id)
    assert (await tenant.everybody())["ada@example.com"].first_name == "Augusta"


async def test_an_import_that_no_worker_survives_is_given_up(tenant: Tenant, database: Database) -> None:
    lease = await taken_on(tenant, database)
    await tenant.execute(f"UPDATE imports SET attempts = {MOST_ATTEMPTS}, lease_until = now()")
    found = await tenant.finish(str(lease.job_id))
    assert found.status == pb.IMPORT_STATUS_FAILED
    assert "could not be processed" in found.failure


async def test_a_running_worker_imports_what_is_uploaded_to_any_organization(
    tenant: Tenant, stranger: Tenant, workers: Workers
) -> None:
    running = asyncio.create_task(workers.imports.run())
    try:
        uploads = [(one, await one.upload(FILE)) for one in (tenant, stranger)]
        for one, waiting in uploads:

            async def completed(one: Tenant = one, import_id: str = waiting.id) -> bool:
                found: pb.Import = await one(pb.GetImportRequest(import_id=import_id))
                return found.status == pb.IMPORT_STATUS_COMPLETED

            await until(completed)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(await tenant.everybody()) == len(await stranger.everybody()) == 31


async def test_turns_are_counted_by_how_they_ended(
    tenant: Tenant, scheduler: RoleDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> dict[str, float]:
        return {
            outcome: REGISTRY.get_sample_value(
                "flownurture_job_turns_total", {"kind": "imports", "outcome": outcome}
            )
            or 0.0
            for outcome in ("done", "refused", "failed", "given_up")
        }

    # Whom no other worker can take it from.
    lease = await taken_on(tenant, database)
    async with database.tenant_transaction(tenant.context) as session:
        job = await fence(session, lease)
        monkeypatch.setattr(jobs, "MOST_ATTEMPTS", job.attempts)

    async def claimed(*_: object) -> tuple[Lease, Any]:
        return lease, job

    async def give_up(*_: object) -> None:
        pass

    monkeypatch.setattr(jobs, "claim", claimed)
    before = counted()
    for ends, error in (("done", None), ("refused", Unworkable("no file")), ("failed", LookupError())):

        async def work(*_: object, error: Exception | None = error) -> None:
            if error is not None:
                raise error

        worker = jobs.JobWorker(database, scheduler, imports, work, give_up, gave_up="")
        with suppress(LookupError):
            await worker.take_turn(tenant.context, lease.job_id)
        assert counted()[ends] == before[ends] + 1
    monkeypatch.setattr(jobs, "MOST_ATTEMPTS", job.attempts - 1)
    await worker.take_turn(tenant.context, lease.job_id)
    assert counted() == {outcome: number + 1 for outcome, number in before.items()}
