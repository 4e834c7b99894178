"""Invitations: a link in a mail that lets one person in, once, as long as there is a seat."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.errors import Conflict, DomainError, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from flownurture.identity.v1 import admin_pb2, auth_pb2, team_pb2
from flownurture.identity.v1.organization_pb2 import PLAN_FREE, PLAN_STARTER
from flownurture.options.v1.access_pb2 import ROLE_MEMBER
from services.identity.plans import Plan, entitlements
from services.identity.settings import IdentitySettings
from services.identity.tests import mails
from services.identity.tests.edge import PASSWORD, Edge, Person

AT_ONCE = 64


@pytest.fixture
async def owner(edge: Edge) -> Person:
    """Of an organization on the free plan."""
    return await edge.sign_up()


async def put_on(edge: Edge, owner: Person, plan: int, settings: IdentitySettings) -> None:
    assert settings.super_admin_email is not None
    operator = await edge.log_in(settings.super_admin_email, PASSWORD)
    request = admin_pb2.ChangeOrganizationRequest(
        organization_id=owner.answer.organization.id,
        plan=plan,  # type: ignore[arg-type]  # a value of the enum
    )
    await edge.call(edge.admin.ChangeOrganization, request, operator.context)


async def invite(edge: Edge, owner: Person, email: str = "") -> team_pb2.Invitation:
    request = team_pb2.CreateInvitationRequest(email=email or f"{uuid4().hex}@people.test", role=ROLE_MEMBER)
    invitation: team_pb2.Invitation = await edge.call(edge.team.CreateInvitation, request, owner.context)
    return invitation


async def accept(
    edge: Edge, token: str, password: str = PASSWORD, name: str = "Ana Lima"
) -> auth_pb2.LogInResponse:
    request = team_pb2.AcceptInvitationRequest(token=token, name=name, password=password)
    answer: auth_pb2.LogInResponse = await edge.call(edge.invitations.AcceptInvitation, request)
    return answer


async def seats(edge: Edge, owner: Person) -> int:
    members = await edge.call(edge.team.ListMembers, team_pb2.ListMembersRequest(), owner.context)
    return len(members.members)


async def open_invitations(edge: Edge, owner: Person) -> list[team_pb2.Invitation]:
    page = await edge.call(edge.team.ListInvitations, team_pb2.ListInvitationsRequest(), owner.context)
    return list(page.invitations)


async def test_a_new_person_joins_with_a_proved_address(
    edge: Edge, database: Database, owner: Person
) -> None:
    invitation = await invite(edge, owner)
    answer = await accept(edge, await mails.newest(database, owner, "invitation"))
    assert answer.user.email == invitation.email
    assert answer.user.email_verified
    assert answer.organization.id == owner.answer.organization.id
    ana = await edge.signed_in(invitation.email, answer)
    assert ana.context.role.name == "MEMBER"
    assert await open_invitations(edge, owner) == []
    assert (await edge.log_in(invitation.email)).answer.user == answer.user


async def test_who_has_an_account_proves_it_and_keeps_name_and_password(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await edge.sign_up(name="Ana Already")
    await invite(edge, owner, ana.email)
    token = await mails.newest(database, owner, "invitation")
    with pytest.raises(Unauthenticated):
        await accept(edge, token, "another quiet bend")
    assert await seats(edge, owner) == 1
    answer = await accept(edge, token, name="Somebody Else")
    assert (answer.user.id, answer.user.name) == (ana.answer.user.id, "Ana Already")
    assert await seats(edge, owner) == 2


async def test_a_link_works_once_however_often_it_is_clicked(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await edge.sign_up()
    await invite(edge, owner, ana.email)
    token = await mails.newest(database, owner, "invitation")
    outcomes = await asyncio.gather(*(accept(edge, token) for _ in range(6)), return_exceptions=True)
    passed = [outcome for outcome in outcomes if isinstance(outcome, auth_pb2.LogInResponse)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, DomainError)]
    assert (len(passed), len(refused)) == (1, 5)
    assert all(isinstance(error, InvalidRequest) for error in refused), refused
    assert await seats(edge, owner) == 2
    with pytest.raises(InvalidRequest) as again:
        await accept(edge, token)
    assert [violation.field for violation in again.value.violations] == ["token"]


async def test_a_new_person_who_clicks_twice_is_one_member(
    edge: Edge, database: Database, owner: Person
) -> None:
    await invite(edge, owner)
    token = await mails.newest(database, owner, "invitation")
    outcomes = await asyncio.gather(*(accept(edge, token) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(outcome, auth_pb2.LogInResponse) for outcome in outcomes) == 1
    assert all(isinstance(each, DomainError | auth_pb2.LogInResponse) for each in outcomes), outcomes
    assert await seats(edge, owner) == 2


async def test_inviting_again_sends_a_new_link_and_voids_the_old_one(
    edge: Edge, database: Database, owner: Person
) -> None:
    email = f"{uuid4().hex}@people.test"
    first = await invite(edge, owner, email)
    second = await invite(edge, owner, email.upper())
    assert first.id == second.id
    old, new = await mails.tokens(database, owner, "invitation")
    with pytest.raises(InvalidRequest):
        await accept(edge, old)
    await accept(edge, new)


async def test_a_member_is_not_invited(edge: Edge, owner: Person) -> None:
    with pytest.raises(Conflict):
        await invite(edge, owner, owner.email.upper())


async def test_what_was_taken_back_or_has_expired_lets_nobody_in(
    edge: Edge, database: Database, owner: Person
) -> None:
    revoked = await invite(edge, owner)
    request = team_pb2.DeleteInvitationRequest(invitation_id=revoked.id)
    await edge.call(edge.team.DeleteInvitation, request, owner.context)
    with pytest.raises(InvalidRequest):
        await accept(edge, await mails.newest(database, owner, "invitation"))
    with pytest.raises(NotFound):
        await edge.call(edge.team.DeleteInvitation, request, owner.context)
    await invite(edge, owner)
    async with database.tenant_transaction(owner.context) as session:
        await session.execute(text("UPDATE invitations SET expires_at = now()"))
    with pytest.raises(InvalidRequest):
        await accept(edge, await mails.newest(database, owner, "invitation"))
    assert await open_invitations(edge, owner) == []
    # And its seat is free again.
    await invite(edge, owner)


async def test_only_the_digest_of_a_link_is_stored(edge: Edge, database: Database, owner: Person) -> None:
    await invite(edge, owner)
    token = await mails.newest(database, owner, "invitation")
    async with database.tenant_transaction(owner.context) as session:
        stored = await session.scalar(text("SELECT invitations::text FROM invitations"))
    assert token not in stored
    assert token.encode().hex() not in stored


async def test_of_64_invitations_at_one_seat_exactly_one_passes(
    edge: Edge, owner: Person, settings: IdentitySettings
) -> None:
    await put_on(edge, owner, PLAN_STARTER, settings)
    free = entitlements(Plan.STARTER).members - 1
    for _ in range(free - 1):
        await invite(edge, owner)
    outcomes = await asyncio.gather(*(invite(edge, owner) for _ in range(AT_ONCE)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, DomainError)]
    assert len(refused) == AT_ONCE - 1
    assert {(type(error), error.reason) for error in refused} == {(PermissionDenied, "PLAN_LIMIT_EXCEEDED")}
    assert len(await open_invitations(edge, owner)) == free


async def test_a_plan_that_shrank_meanwhile_lets_nobody_more_in(
    edge: Edge, database: Database, owner: Person, settings: IdentitySettings
) -> None:
    await put_on(edge, owner, PLAN_STARTER, settings)
    smaller = entitlements(Plan.FREE).members
    for _ in range(smaller - 1):
        await invite(edge, owner)
        await accept(edge, await mails.newest(database, owner, "invitation"))
    await invite(edge, owner)
    token = await mails.newest(database, owner, "invitation")
    await put_on(edge, owner, PLAN_FREE, settings)
    with pytest.raises(PermissionDenied) as refusal:
        await accept(edge, token)
    assert refusal.value.reason == "PLAN_LIMIT_EXCEEDED"
    assert await seats(edge, owner) == smaller
    await put_on(edge, owner, PLAN_STARTER, settings)
    # Nothing was used up.
    await accept(edge, token)


@pytest.mark.parametrize(
    ("changed", "field"), [({"name": " "}, "name"), ({"password": "password1234"}, "password")]
)
async def test_what_is_wrong_is_said_by_field_and_uses_nothing_up(
    edge: Edge, database: Database, owner: Person, changed: dict[str, str], field: str
) -> None:
    await invite(edge, owner)
    token = await mails.newest(database, owner, "invitation")
    with pytest.raises(InvalidRequest) as refusal:
        await accept(edge, token, **changed)
    assert [violation.field for violation in refusal.value.violations] == [field]
    await accept(edge, token)
