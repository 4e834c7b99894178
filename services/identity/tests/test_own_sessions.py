"""One's own sessions: seen from wherever they are, and ended at once."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import delete, text

from chassis.database import Database
from chassis.errors import NotFound, Unauthenticated
from flownurture.identity.v1 import auth_pb2, sessions_pb2, team_pb2
from flownurture.options.v1.access_pb2 import ROLE_MEMBER
from services.identity.sessions import begin
from services.identity.settings import IdentitySettings
from services.identity.tables import memberships
from services.identity.tests import mails
from services.identity.tests.edge import NOBODY, PASSWORD, Edge, Person
from services.identity.users import hold_password


async def sessions(edge: Edge, person: Person, **asked: object) -> sessions_pb2.ListSessionsResponse:
    request = sessions_pb2.ListSessionsRequest(**asked)  # type: ignore[arg-type]
    answer: sessions_pb2.ListSessionsResponse = await edge.call(
        edge.sessions.ListSessions, request, person.context
    )
    return answer


async def end(edge: Edge, by: Person, session_id: object) -> None:
    request = sessions_pb2.DeleteSessionRequest(session_id=str(session_id))
    await edge.call(edge.sessions.DeleteSession, request, by.context)


async def is_gone(edge: Edge, person: Person) -> bool:
    try:
        await edge.resolve_session(person.session_id)
    except Unauthenticated:
        return True
    return False


async def in_another_organization(edge: Edge, database: Database, person: Person) -> Person:
    """The same person with a session in somebody else's organization."""
    owner = await edge.sign_up()
    asked = team_pb2.CreateInvitationRequest(email=person.email, role=ROLE_MEMBER)
    await edge.call(edge.team.CreateInvitation, asked, owner.context)
    token = await mails.newest(database, owner, "invitation")
    accepted = team_pb2.AcceptInvitationRequest(token=token, password=PASSWORD)
    return await edge.signed_in(person.email, await edge.call(edge.invitations.AcceptInvitation, accepted))


async def test_sessions_are_seen_across_organizations_with_where_they_came_from(
    edge: Edge, database: Database
) -> None:
    ana = await edge.sign_up()
    there = await in_another_organization(edge, database, ana)
    somewhere = replace(NOBODY, client_address="192.0.2.7", user_agent="Browser/1.0")
    request = auth_pb2.LogInRequest(email=ana.email, password=PASSWORD)
    again = await edge.signed_in(ana.email, await edge.call(edge.auth.LogIn, request, somewhere))
    newest, middle, oldest = (await sessions(edge, ana)).sessions
    assert [newest.id, middle.id, oldest.id] == [str(person.session_id) for person in (again, there, ana)]
    assert (newest.client_address, newest.user_agent) == ("192.0.2.7", "Browser/1.0")
    assert [session.current for session in (newest, middle, oldest)] == [False, False, True]
    assert middle.organization.id == there.answer.organization.id
    first = await sessions(edge, ana, page_size=2)
    rest = await sessions(edge, ana, page_token=first.next_page_token)
    assert [session.id for session in (*first.sessions, *rest.sessions)] == [newest.id, middle.id, oldest.id]


async def test_one_of_ones_own_is_ended_wherever_it_is_and_nobody_elses(
    edge: Edge, database: Database, redis: Redis
) -> None:
    ana, stranger = await edge.sign_up(), await edge.sign_up()
    there = await in_another_organization(edge, database, ana)
    await edge.resolve_session(there.session_id)
    await end(edge, ana, there.session_id)
    assert not await redis.exists(f"grant:session:{there.session_id}")
    assert await is_gone(edge, there)
    with pytest.raises(Unauthenticated):
        await edge.refresh(there.answer.refresh_token)
    for attempt in (ana.session_id, there.session_id):
        with pytest.raises(NotFound):
            await end(edge, stranger, attempt)
    assert not await is_gone(edge, ana)


async def test_logging_out_everywhere_ends_all_of_them_in_every_organization(
    edge: Edge, database: Database
) -> None:
    ana, bystander = await edge.sign_up(), await edge.sign_up()
    there, again = await in_another_organization(edge, database, ana), await edge.log_in(ana.email)
    await edge.call(edge.sessions.LogOutEverywhere, sessions_pb2.LogOutEverywhereRequest(), again.context)
    assert [await is_gone(edge, person) for person in (ana, there, again, bystander)] == [
        True,
        True,
        True,
        False,
    ]
    assert (await edge.log_in(ana.email)).answer.user.id == ana.answer.user.id


@pytest.mark.parametrize(("column", "age"), [("last_used_at", "14 days"), ("expires_at", "0 days")])
async def test_a_session_ends_when_it_is_left_alone_or_too_old(
    edge: Edge, database: Database, redis: Redis, column: str, age: str
) -> None:
    ana = await edge.sign_up()
    async with database.tenant_transaction(ana.context) as session:
        await session.execute(text(f"UPDATE sessions SET {column} = now() - interval '{age}'"))
    await redis.delete(f"grant:session:{ana.session_id}")
    assert await is_gone(edge, ana)
    with pytest.raises(Unauthenticated):
        await edge.refresh(ana.answer.refresh_token)
    assert (await sessions(edge, await edge.log_in(ana.email))).sessions[0].current


async def test_a_refresh_is_a_use(edge: Edge, database: Database) -> None:
    ana = await edge.sign_up()
    async with database.tenant_transaction(ana.context) as session:
        await session.execute(text("UPDATE sessions SET last_used_at = now() - interval '13 days'"))
    await edge.refresh(ana.answer.refresh_token)
    (only,) = (await sessions(edge, ana)).sessions
    assert only.last_used_at.seconds > only.created_at.seconds - 60


async def test_an_operator_sees_and_ends_sessions_too(edge: Edge, settings: IdentitySettings) -> None:
    assert settings.super_admin_email is not None
    one, other = [await edge.log_in(settings.super_admin_email, PASSWORD) for _ in range(2)]
    listed = {session.id: session for session in (await sessions(edge, one)).sessions}
    assert not listed[str(other.session_id)].HasField("organization")
    await end(edge, one, other.session_id)
    assert await is_gone(edge, other)


async def test_no_session_begins_of_who_was_removed_or_changed_the_password_meanwhile(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    user_id = UUID(person.answer.user.id)
    context = replace(person.context, session_id=str(uuid4()))
    with pytest.raises(Unauthenticated):
        async with database.tenant_transaction(context) as session:
            await hold_password(session, user_id, datetime(2026, 1, 1, tzinfo=UTC))
    async with database.tenant_transaction(context) as session:
        await session.execute(delete(memberships).where(memberships.c.user_id == user_id))
    with pytest.raises(Unauthenticated):
        async with database.tenant_transaction(context) as session:
            await begin(session)
