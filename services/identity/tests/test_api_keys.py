"""API keys: made, listed, revoked, and never shown twice."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis
from sqlalchemy import exc, insert, select, text, update

from chassis.api_key import ApiKey
from chassis.context import Role
from chassis.database import Database
from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthenticated, Unavailable
from chassis.identifiers import new_id
from chassis.secret import Secret
from flownurture.identity.v1 import api_keys_pb2
from services.identity import audit
from services.identity.api_keys import MOST_LIVE
from services.identity.audit import Act
from services.identity.plans import Plan, entitlements
from services.identity.scopes import SCOPES
from services.identity.settings import IdentitySettings
from services.identity.tables import api_keys
from services.identity.tests.conftest import Start
from services.identity.tests.edge import Edge, Person
from services.identity.tests.keys import after, create, page, resolve, revoke

# How many transactions wait for one another.
WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


async def test_a_key_may_do_what_its_scopes_say_and_nothing_by_role(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person, scopes=["contacts:write", "campaigns:read"])
    grant = await resolve(edge, made.secret)
    assert list(grant.scopes) == ["campaigns:read", "contacts:write"]
    assert Role(grant.role) is Role.NONE
    assert grant.organization_id == person.answer.organization.id
    assert grant.actor.id == made.api_key.id
    assert grant.requests_per_minute == entitlements(Plan.FREE).requests_per_minute


async def test_a_key_is_shown_once_and_known_by_its_first_characters_afterwards(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    (listed,) = (await page(edge, person)).api_keys
    assert listed == made.api_key
    assert made.secret.startswith(listed.prefix)
    assert len(listed.prefix) < len(made.secret) / 3
    assert made.secret[-49:] not in str(listed)


async def test_only_the_digest_of_a_secret_is_stored(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    async with database.tenant_transaction(person.context) as session:
        row = (await session.execute(select(api_keys))).one()
    assert row.secret_digest == ApiKey.parse(made.secret).secret_digest
    assert made.secret[-49:-6] not in str(row)


async def test_every_scope_there_is_can_be_granted(edge: Edge) -> None:
    made = await create(edge, await edge.sign_up(), scopes=sorted(SCOPES))
    assert set(made.api_key.scopes) == SCOPES


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["contacts:read", "team:write"]}, "scopes[1]"),
        ({"scopes": ["contacts:read", "contacts:admin"]}, "scopes[1]"),
        ({"scopes": ["contacts:read", "forms:read", "contacts:read"]}, "scopes[2]"),
        ({"name": ""}, "name"),
        ({"name": " \t "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": "re\0ports"}, "name"),
        ({"scopes": ["contacts:read"] * 33}, "scopes"),
        ({"expires_at": after(-timedelta(seconds=1))}, "expires_at"),
        ({"expires_at": Timestamp(seconds=-(2**40))}, "expires_at"),
        ({"expires_at": Timestamp(seconds=2**40)}, "expires_at"),
    ],
)
async def test_what_is_wrong_with_a_key_is_said_by_field_and_nothing_is_made(
    edge: Edge, changed: dict[str, Any], field: str
) -> None:
    person = await edge.sign_up()
    with pytest.raises(InvalidRequest) as refused:
        await create(edge, person, **changed)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert not (await page(edge, person)).api_keys


async def test_keys_are_listed_newest_first_page_by_page(edge: Edge) -> None:
    person = await edge.sign_up()
    made = [(await create(edge, person, name=f"key {number}")).api_key.id for number in range(5)]
    first = await page(edge, person, page_size=2)
    second = await page(edge, person, page_size=2, page_token=first.next_page_token)
    third = await page(edge, person, page_size=2, page_token=second.next_page_token)
    listed = [key.id for each in (first, second, third) for key in each.api_keys]
    assert listed == made[::-1]
    assert not third.next_page_token


async def test_a_revoked_key_is_refused_and_gone(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    await resolve(edge, made.secret)
    await revoke(edge, person, made.api_key.id)
    with pytest.raises(Unauthenticated):
        await resolve(edge, made.secret)
    assert not (await page(edge, person)).api_keys
    with pytest.raises(NotFound):
        await revoke(edge, person, made.api_key.id)


async def test_what_a_key_was_is_in_the_audit_trail_when_it_is_made_and_when_it_is_revoked(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person, scopes=["contacts:write", "contacts:read"])
    await revoke(edge, person, made.api_key.id)
    async with database.tenant_transaction(person.context) as session:
        events = (await audit.page(session, before=None, size=2))[::-1]
    facts = {
        "name": "reports",
        "scopes": ["contacts:read", "contacts:write"],
        "prefix": made.api_key.prefix,
    }
    assert [(event.act, event.before, event.after) for event in events] == [
        (Act.API_KEY_CREATED, None, facts),
        (Act.API_KEY_REVOKED, facts, None),
    ]
    assert {str(event.target_id) for event in events} == {made.api_key.id}


async def test_an_organization_has_at_most_a_hundred_live_keys_however_many_are_made_at_once(
    edge: Edge, database: Database
) -> None:
    person, other = await edge.sign_up(), await edge.sign_up()
    made = await create(edge, person)
    await copies(database, person, made, MOST_LIVE - 2)
    async with database.tenant_transaction(person.context) as session:
        # Nobody ends before they all have begun: what is recorded here keeps them from recording theirs.
        await audit.record(session, Act.LOGGED_IN, new_id())
        creating = [asyncio.create_task(create(edge, person)) for _ in range(16)]
        async with asyncio.timeout(20):
            while await session.scalar(WAITING) < 4:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    answers = await asyncio.gather(*creating, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(refused) == len(answers) - 1
    assert {refusal.reason for refusal in refused} == {"API_KEY_LIMIT_REACHED"}
    await create(edge, other)
    await revoke(edge, person, made.api_key.id)
    await create(edge, person)


async def test_an_expired_key_takes_no_room(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    await copies(database, person, made, MOST_LIVE + 1, expires_at=datetime.now(UTC) - timedelta(minutes=1))
    assert await create(edge, person)


async def copies(
    database: Database,
    person: Person,
    made: api_keys_pb2.CreateApiKeyResponse,
    number: int,
    **changed: Any,
) -> None:
    """Rows like that of a key, under other ids."""
    async with database.tenant_transaction(person.context) as session:
        row = (await session.execute(select(api_keys).where(api_keys.c.id == UUID(made.api_key.id)))).one()
        values = {**row._mapping, **changed}
        del values["organization_id"]
        await session.execute(insert(api_keys), [{**values, "id": new_id()} for _ in range(number)])


async def test_a_revocation_that_the_gateways_cannot_be_told_of_is_refused_and_undone(
    start: Start, edge: Edge, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    without_redis = await start(settings.model_copy(update={"redis_url": Secret("redis://127.0.0.1:1")}))
    with pytest.raises(Unavailable):
        await revoke(without_redis, person, made.api_key.id)
    assert await resolve(without_redis, made.secret) == await resolve(edge, made.secret)


async def test_another_organizations_key_is_not_there(edge: Edge) -> None:
    person, stranger = await edge.sign_up(), await edge.sign_up()
    made = await create(edge, person)
    assert not (await page(edge, stranger)).api_keys
    for key_id in (made.api_key.id, str(uuid4())):
        with pytest.raises(NotFound) as missing:
            await revoke(edge, stranger, key_id)
        assert missing.value.message == "There is no such API key."
    assert await resolve(edge, made.secret)


async def test_a_wrong_secret_and_an_unknown_key_are_refused_alike(edge: Edge) -> None:
    made = await create(edge, await edge.sign_up())
    with pytest.raises(Unauthenticated) as wrong:
        await resolve(edge, ApiKey.mint(ApiKey.parse(made.secret).key_id))
    with pytest.raises(Unauthenticated) as unknown:
        await resolve(edge, ApiKey.mint(uuid4()))
    assert wrong.value.args == unknown.value.args


async def test_a_key_expires_by_itself_and_its_grant_in_the_cache_no_later(edge: Edge, redis: Redis) -> None:
    person = await edge.sign_up()
    expires_at = after(timedelta(seconds=1))
    made = await create(edge, person, expires_at=expires_at)
    grant = await resolve(edge, made.secret)
    assert abs(grant.expires_at.ToMicroseconds() - expires_at.ToMicroseconds()) <= 1
    assert await redis.pttl(f"grant:key:{made.api_key.id}") <= 1000

    async def is_refused() -> bool:
        try:
            await resolve(edge, made.secret)
        except Unauthenticated:
            return True
        return False

    async with asyncio.timeout(10):
        while not await is_refused():  # noqa: ASYNC110 - nothing but time makes it so
            await asyncio.sleep(0.05)
    assert datetime.now(UTC) >= expires_at.ToDatetime(UTC)
    assert not await redis.exists(f"grant:key:{made.api_key.id}")


async def test_a_use_is_written_down_once_a_minute(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)

    async def last_used() -> datetime | None:
        async with database.tenant_transaction(person.context) as session:
            moment: datetime | None = await session.scalar(select(api_keys.c.last_used_at))
            return moment

    assert await last_used() is None
    await resolve(edge, made.secret)
    first = await last_used()
    assert first is not None
    await resolve(edge, made.secret)
    assert await last_used() == first
    async with database.tenant_transaction(person.context) as session:
        await session.execute(update(api_keys).values(last_used_at=first - timedelta(minutes=2)))
    await resolve(edge, made.secret)
    assert await last_used() != first - timedelta(minutes=2)
    assert (await page(edge, person)).api_keys[0].HasField("last_used_at")


async def test_no_statement_of_the_service_can_change_what_a_key_may_do(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    await create(edge, person)
    for column, value in (("scopes", ["contacts:write"]), ("secret_digest", b"x" * 32), ("expires_at", None)):
        with pytest.raises(exc.ProgrammingError) as refused:
            async with database.tenant_transaction(person.context) as session:
                await session.execute(update(api_keys).values({column: value}))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


async def test_a_double_click_makes_one_key_and_shows_it_alike(edge: Edge) -> None:
    person = await edge.sign_up()
    person = replace(person, context=replace(person.context, idempotency_key=str(uuid4())))
    first, second = await create(edge, person), await create(edge, person)
    assert first == second
    assert len((await page(edge, person)).api_keys) == 1


async def test_members_and_keys_do_not_manage_keys(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person, scopes=sorted(SCOPES))
    member = replace(person, context=replace(person.context, role=Role.MEMBER))
    with pytest.raises(PermissionDenied):
        await create(edge, member)
    with pytest.raises(PermissionDenied):
        await revoke(edge, member, made.api_key.id)
