"""The life of a session: refreshed, ended, and never half of either."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from chassis.database import Database
from chassis.errors import Unauthenticated, Unavailable
from chassis.secret import Secret
from flownurture.identity.v1 import auth_pb2
from services.identity.audit import Act
from services.identity.refresh_tokens import GRACE, RefreshToken
from services.identity.settings import IdentitySettings
from services.identity.tables import audit_events, refresh_tokens, sessions
from services.identity.tests.conftest import Start
from services.identity.tests.edge import Edge, Person, session_of


async def _pass_time(database: Database, person: Person, time: timedelta) -> None:
    """Let the person's replaced tokens have been replaced that much earlier."""
    async with database.tenant_transaction(person.context) as session:
        await session.execute(
            update(refresh_tokens)
            .where(refresh_tokens.c.replaced_at.is_not(None))
            .values(replaced_at=refresh_tokens.c.replaced_at - time)
        )


async def _acts(database: Database, person: Person) -> list[str]:
    async with database.tenant_transaction(person.context) as session:
        rows = await session.execute(select(audit_events.c.act).order_by(audit_events.c.id))
        return list(rows.scalars())


async def test_a_refresh_gives_new_tokens_of_the_same_session(edge: Edge) -> None:
    person = await edge.sign_up()
    refreshed = await edge.refresh(person.answer.refresh_token)
    assert refreshed.refresh_token != person.answer.refresh_token
    assert session_of(refreshed.access_token) == person.session_id
    assert await edge.refresh(refreshed.refresh_token)


async def test_who_lost_the_answer_may_ask_again_and_gets_the_same_successor(edge: Edge) -> None:
    person = await edge.sign_up()
    first = await edge.refresh(person.answer.refresh_token)
    second = await edge.refresh(person.answer.refresh_token)
    assert second.refresh_token == first.refresh_token


async def test_a_session_never_has_two_living_tokens_however_many_refresh_at_once(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    answers = await asyncio.gather(*(edge.refresh(person.answer.refresh_token) for _ in range(12)))
    assert len({answer.refresh_token for answer in answers}) == 1
    async with database.tenant_transaction(person.context) as session:
        living = await session.scalar(
            select(func.count()).select_from(refresh_tokens).where(refresh_tokens.c.replaced_at.is_(None))
        )
    assert living == 1


async def test_an_old_token_ends_the_session_once_its_successor_was_used(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    stolen = person.answer.refresh_token
    second = await edge.refresh(stolen)
    third = await edge.refresh(second.refresh_token)
    with pytest.raises(Unauthenticated):
        await edge.refresh(stolen)
    for token in (stolen, second.refresh_token, third.refresh_token):
        with pytest.raises(Unauthenticated):
            await edge.refresh(token)
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(person.session_id)
    assert await _acts(database, person) == [Act.SIGNED_UP, Act.REFRESH_REUSED]


async def test_the_direct_predecessor_ends_the_session_when_its_grace_is_over(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    successor = await edge.refresh(person.answer.refresh_token)
    await _pass_time(database, person, GRACE)
    with pytest.raises(Unauthenticated):
        await edge.refresh(person.answer.refresh_token)
    with pytest.raises(Unauthenticated):
        await edge.refresh(successor.refresh_token)


async def test_reuse_ends_one_session_and_no_other(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    other = await edge.log_in(person.email)
    await edge.refresh(person.answer.refresh_token)
    await _pass_time(database, person, GRACE)
    with pytest.raises(Unauthenticated):
        await edge.refresh(person.answer.refresh_token)
    assert await edge.resolve_session(other.session_id)
    assert await edge.refresh(other.answer.refresh_token)


async def test_what_is_stored_of_a_session_makes_no_refresh_token(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    successor = RefreshToken.parse((await edge.refresh(person.answer.refresh_token)).refresh_token)
    last = await edge.refresh(successor.text)
    async with database.tenant_transaction(person.context) as session:
        stored = (await session.execute(select(refresh_tokens))).all()
    salts = [row.successor_salt for row in stored if row.successor_salt is not None]
    # Only the direct predecessor's salt is kept: an older token does not lead to the living one.
    assert len(salts) == 1
    assert successor.successor(salts[0]).text == last.refresh_token
    for row in stored:
        assert last.refresh_token not in str(row)


@pytest.mark.parametrize("token", ["x", "fnr_", "fnr_" + "A" * 43, "ü" * 47, "fnr_" + "A" * 42 + "="])
async def test_a_token_that_was_never_issued_is_refused(edge: Edge, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await edge.refresh(token)


async def test_an_expired_session_is_none(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    async with database.tenant_transaction(person.context) as session:
        await session.execute(update(sessions).values(expires_at=func.now()))
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(person.session_id)
    with pytest.raises(Unauthenticated):
        await edge.refresh(person.answer.refresh_token)
    await edge.log_in(person.email)
    async with database.tenant_transaction(person.context) as session:
        left = (await session.execute(select(sessions.c.id))).scalars().all()
    assert person.session_id not in left


async def test_log_out_ends_the_session_at_once_and_leaves_the_others(
    edge: Edge, database: Database, redis: Redis
) -> None:
    person = await edge.sign_up()
    other = await edge.log_in(person.email)
    assert await redis.exists(f"grant:session:{person.session_id}")
    await edge.call(edge.auth.LogOut, auth_pb2.LogOutRequest(), person.context)
    assert not await redis.exists(f"grant:session:{person.session_id}")
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(person.session_id)
    with pytest.raises(Unauthenticated):
        await edge.refresh(person.answer.refresh_token)
    assert await edge.resolve_session(other.session_id)
    assert Act.LOGGED_OUT in await _acts(database, person)


async def test_log_out_is_refused_and_changes_nothing_when_the_gateways_cannot_be_told(
    start: Start, edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    without_redis = await start(settings.model_copy(update={"redis_url": Secret("redis://127.0.0.1:1")}))
    with pytest.raises(Unavailable):
        await without_redis.call(without_redis.auth.LogOut, auth_pb2.LogOutRequest(), person.context)
    assert await edge.resolve_session(person.session_id)
    assert Act.LOGGED_OUT not in await _acts(database, person)


async def test_me_is_who_is_signed_in(edge: Edge) -> None:
    person = await edge.sign_up()
    me = await edge.call(edge.auth.GetMe, auth_pb2.GetMeRequest(), person.context)
    assert (me.user, me.organization) == (person.answer.user, person.answer.organization)
    assert me.role == person.context.role
