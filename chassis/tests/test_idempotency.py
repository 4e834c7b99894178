"""Idempotency keys: a request is done once under its key, and answered alike each time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Conflict, InvalidRequest
from chassis.idempotency import remembered
from chassis.tests.probe import Probe
from flownurture.identity.v1.events_pb2 import OrganizationCreated

Make = Callable[[TenantSession], Awaitable[OrganizationCreated]]
METHOD = "flownurture.probe.v1.ProbeService.CreateThing"
INSERT = text("INSERT INTO things (name) VALUES (:name)")


def keyed(context: RequestContext, key: str = "a key") -> RequestContext:
    return replace(context, idempotency_key=key)


async def create(session: TenantSession) -> OrganizationCreated:
    """Do something and answer something that shows which time it was."""
    name = str(uuid4())
    await session.execute(INSERT, {"name": name})
    session.publish(OrganizationCreated(name=name))
    return OrganizationCreated(name=name)


async def request(
    database: Database,
    context: RequestContext,
    *,
    fingerprint: bytes = b"request",
    method: str = METHOD,
    make: Make = create,
) -> OrganizationCreated:
    async with database.tenant_transaction(context) as session:
        return await remembered(session, context, method, fingerprint, lambda: make(session))


def done(probe: Probe, context: RequestContext) -> tuple[int, int]:
    """How many things and how many events the requests of an organization have made."""
    [counts] = probe.look(
        "SELECT (SELECT count(*) FROM things WHERE organization_id = %s),"
        " (SELECT count(*) FROM outbox WHERE organization_id = %s)",
        context.organization,
        context.organization,
    )
    return counts[0], counts[1]


async def test_a_repeated_request_is_done_once_and_answered_alike(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    answers = [await request(database, keyed(context)) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert done(probe, context) == (1, 1)


async def test_without_a_key_every_request_is_its_own(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    assert await request(database, context) != await request(database, context)
    assert done(probe, context) == (2, 2)


async def test_another_key_is_another_request(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    assert await request(database, keyed(context, "one")) != await request(database, keyed(context, "other"))
    assert done(probe, context) == (2, 2)


async def test_the_same_key_of_another_organization_is_another_request(
    database: Database, context: RequestContext
) -> None:
    theirs = RequestContext.of_process("probe", uuid4())
    assert await request(database, keyed(context)) != await request(database, keyed(theirs))


@pytest.mark.parametrize(
    ("fingerprint", "method"), [(b"other", METHOD), (b"request", METHOD + "Twice"), (b"", METHOD)]
)
async def test_a_key_is_refused_for_any_other_request(
    database: Database, context: RequestContext, probe: Probe, fingerprint: bytes, method: str
) -> None:
    await request(database, keyed(context))
    with pytest.raises(InvalidRequest) as refused:
        await request(database, keyed(context), fingerprint=fingerprint, method=method)
    assert refused.value.reason == "IDEMPOTENCY_MISMATCH"
    assert done(probe, context) == (1, 1)


async def test_a_request_still_in_flight_is_a_conflict_and_later_replays(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def take_a_while(session: TenantSession) -> OrganizationCreated:
        begun.set()
        await may_end.wait()
        return await create(session)

    first = asyncio.create_task(request(database, keyed(context), make=take_a_while))
    await begun.wait()
    with pytest.raises(Conflict) as refused:
        await request(database, keyed(context))
    assert refused.value.reason == "IDEMPOTENCY_IN_FLIGHT"
    may_end.set()
    answer = await first
    assert await request(database, keyed(context)) == answer
    assert done(probe, context) == (1, 1)


async def test_of_many_at_once_one_is_done_and_the_others_conflict_or_replay(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    for round_number in range(10):
        answers = await asyncio.gather(
            *(request(database, keyed(context, f"key {round_number}")) for _ in range(8)),
            return_exceptions=True,
        )
        names = {answer.name for answer in answers if isinstance(answer, OrganizationCreated)}
        refusals = {answer.reason for answer in answers if isinstance(answer, Conflict)}
        assert len(names) == 1
        assert refusals <= {"IDEMPOTENCY_IN_FLIGHT"}
        assert all(isinstance(answer, OrganizationCreated | Conflict) for answer in answers)
    assert done(probe, context) == (10, 10)


async def test_a_deed_that_can_be_done_once_is_never_found_done_by_its_own_repetition(
    database: Database, context: RequestContext
) -> None:
    """Who gets the key's turn just when the first request has committed replays it; the deed is not tried again."""

    async def create_once(session: TenantSession) -> OrganizationCreated:
        name = f"of {session.context.idempotency_key}"
        try:
            await session.execute(INSERT, {"name": name})
        except IntegrityError:
            raise Conflict("It is there already.") from None
        return OrganizationCreated(name=name)

    async def some_time(caller: RequestContext) -> OrganizationCreated:
        await asyncio.sleep(random.random() * 0.004)
        return await request(database, caller, make=create_once)

    for round_number in range(100):
        caller = keyed(context, f"key {round_number}")
        answers = await asyncio.gather(*(some_time(caller) for _ in range(8)), return_exceptions=True)
        refusals = {answer.reason for answer in answers if isinstance(answer, Conflict)}
        assert refusals <= {"IDEMPOTENCY_IN_FLIGHT"}


async def test_a_request_that_fails_is_not_remembered(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    async def fail(session: TenantSession) -> OrganizationCreated:
        await create(session)
        raise LookupError

    with pytest.raises(LookupError):
        await request(database, keyed(context), make=fail)
    assert done(probe, context) == (0, 0)
    await request(database, keyed(context))
    assert done(probe, context) == (1, 1)


async def test_a_request_that_dies_before_its_commit_may_be_repeated(
    probe: Probe, database: Database, context: RequestContext
) -> None:
    async def die(session: TenantSession) -> OrganizationCreated:
        answer = await create(session)
        probe.look("SELECT pg_terminate_backend(%s)", await session.scalar(text("SELECT pg_backend_pid()")))
        return answer

    with pytest.raises(Exception, match="does not answer"):
        await request(database, keyed(context), make=die)
    assert done(probe, context) == (0, 0)
    await request(database, keyed(context))
    assert done(probe, context) == (1, 1)


async def test_neither_the_key_nor_the_answer_can_be_read_in_the_table(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    answer = await request(database, keyed(context, "the very key"))
    [stored] = probe.look(
        "SELECT i::text FROM idempotency_keys i WHERE organization_id = %s", context.organization
    )
    for secret in (b"the very key", answer.name.encode()):
        assert secret.hex() not in stored[0]
        assert secret.decode() not in stored[0]
