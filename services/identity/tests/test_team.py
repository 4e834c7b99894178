"""The team: who is in it, as what, and that somebody is always left to lead it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from chassis.context import Role
from chassis.database import Database
from chassis.errors import Conflict, DomainError, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from flownurture.identity.v1 import admin_pb2, audit_pb2, sessions_pb2, team_pb2
from flownurture.identity.v1.organization_pb2 import PLAN_PRO
from flownurture.options.v1.access_pb2 import ROLE_MEMBER, ROLE_ORG_ADMIN, ROLE_SUPER_ADMIN
from services.identity.settings import IdentitySettings
from services.identity.tests import mails
from services.identity.tests.edge import PASSWORD, Edge, Person


@pytest.fixture
async def owner(edge: Edge, settings: IdentitySettings) -> Person:
    """The owner of an organization with seats for many."""
    owner = await edge.sign_up()
    assert settings.super_admin_email is not None
    operator = await edge.log_in(settings.super_admin_email, PASSWORD)
    put_on_pro = admin_pb2.ChangeOrganizationRequest(
        organization_id=owner.answer.organization.id, plan=PLAN_PRO
    )
    await edge.call(edge.admin.ChangeOrganization, put_on_pro, operator.context)
    return owner


async def join(edge: Edge, database: Database, owner: Person, role: int = ROLE_MEMBER) -> Person:
    """Somebody new in the owner's organization."""
    email = f"{uuid4().hex}@people.test"
    asked = team_pb2.CreateInvitationRequest(email=email, role=role)  # type: ignore[arg-type]  # of the enum
    await edge.call(edge.team.CreateInvitation, asked, owner.context)
    accepted = team_pb2.AcceptInvitationRequest(
        token=await mails.newest(database, owner, "invitation"), name="Ana Lima", password=PASSWORD
    )
    return await edge.signed_in(email, await edge.call(edge.invitations.AcceptInvitation, accepted))


async def change(edge: Edge, by: Person, whom: Person, role: int) -> Any:
    request = team_pb2.UpdateMemberRequest(user_id=whom.answer.user.id, role=role)  # type: ignore[arg-type]
    return await edge.call(edge.team.UpdateMember, request, by.context)


async def remove(edge: Edge, by: Person, whom: Person) -> None:
    request = team_pb2.DeleteMemberRequest(user_id=whom.answer.user.id)
    await edge.call(edge.team.DeleteMember, request, by.context)


async def leave(edge: Edge, whom: Person) -> None:
    await edge.call(edge.team.LeaveTeam, team_pb2.LeaveTeamRequest(), whom.context)


async def members(edge: Edge, by: Person) -> dict[str, int]:
    page = await edge.call(edge.team.ListMembers, team_pb2.ListMembersRequest(), by.context)
    return {member.user_id: member.role for member in page.members}


async def role_of(edge: Edge, person: Person) -> int:
    return (await edge.resolve_session(person.session_id)).role


async def test_members_are_listed_in_the_order_in_which_they_joined(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana, bea = [await join(edge, database, owner) for _ in range(2)]
    in_order = [person.answer.user.id for person in (owner, ana, bea)]
    assert list(await members(edge, ana)) == in_order
    first = await edge.call(edge.team.ListMembers, team_pb2.ListMembersRequest(page_size=2), ana.context)
    rest = await edge.call(
        edge.team.ListMembers, team_pb2.ListMembersRequest(page_token=first.next_page_token), ana.context
    )
    assert [member.user_id for member in (*first.members, *rest.members)] == in_order
    assert rest.next_page_token == ""


async def test_a_role_changes_for_the_tokens_that_somebody_has(
    edge: Edge, database: Database, owner: Person, redis: Redis
) -> None:
    ana = await join(edge, database, owner)
    assert await role_of(edge, ana) == ROLE_MEMBER
    await change(edge, owner, ana, ROLE_ORG_ADMIN)
    assert not await redis.exists(f"grant:session:{ana.session_id}")
    assert await role_of(edge, ana) == ROLE_ORG_ADMIN
    await change(edge, owner, ana, ROLE_MEMBER)
    assert await role_of(edge, ana) == ROLE_MEMBER


async def test_only_an_admin_changes_roles_invites_and_removes(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana, bea = [await join(edge, database, owner) for _ in range(2)]
    invite = team_pb2.CreateInvitationRequest(email="new@people.test", role=ROLE_MEMBER)
    for attempt in (
        change(edge, ana, ana, ROLE_ORG_ADMIN),
        change(edge, ana, bea, ROLE_ORG_ADMIN),
        remove(edge, ana, owner),
        edge.call(edge.team.CreateInvitation, invite, ana.context),
        edge.call(edge.team.ListInvitations, team_pb2.ListInvitationsRequest(), ana.context),
    ):
        with pytest.raises(PermissionDenied) as refusal:
            await attempt
        assert refusal.value.reason == "INSUFFICIENT_ROLE"
    assert await members(edge, owner) == {
        owner.answer.user.id: ROLE_ORG_ADMIN,
        ana.answer.user.id: ROLE_MEMBER,
        bea.answer.user.id: ROLE_MEMBER,
    }


async def test_nobody_changes_their_own_role_and_nobody_is_made_an_operator(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await join(edge, database, owner, ROLE_ORG_ADMIN)
    for role in (ROLE_MEMBER, ROLE_ORG_ADMIN):
        with pytest.raises(Conflict):
            await change(edge, ana, ana, role)
    for whom in (ana, owner):
        with pytest.raises(InvalidRequest) as refusal:
            await change(edge, owner, whom, ROLE_SUPER_ADMIN)
        assert [violation.field for violation in refusal.value.violations] == ["role"]
    invite = team_pb2.CreateInvitationRequest(email="new@people.test", role=ROLE_SUPER_ADMIN)
    with pytest.raises(InvalidRequest):
        await edge.call(edge.team.CreateInvitation, invite, owner.context)


async def test_the_last_admin_can_neither_leave_nor_be_removed(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await join(edge, database, owner)
    for attempt in (leave(edge, owner), remove(edge, owner, owner)):
        with pytest.raises(Conflict):
            await attempt
    await change(edge, owner, ana, ROLE_ORG_ADMIN)
    await leave(edge, owner)
    assert await members(edge, ana) == {ana.answer.user.id: ROLE_ORG_ADMIN}


@pytest.mark.parametrize("act", ["lower each other", "remove each other", "leave"])
async def test_of_two_admins_who_go_at_the_same_moment_one_stays(
    edge: Edge, database: Database, owner: Person, act: str
) -> None:
    admins = [owner, await join(edge, database, owner, ROLE_ORG_ADMIN)]
    for _ in range(10):
        one, other = admins
        outcomes = await asyncio.gather(
            go(edge, act, one, other), go(edge, act, other, one), return_exceptions=True
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(failures) == 1
        assert isinstance(failures[0], Conflict | NotFound), failures
        # Whoever is left leads on, with somebody beside them.
        (left,) = [person for person in admins if await is_admin(edge, person)]
        await clear(edge, left)
        admins = [left, await join(edge, database, left, ROLE_ORG_ADMIN)]


async def go(edge: Edge, act: str, one: Person, other: Person) -> None:
    match act:
        case "lower each other":
            await change(edge, one, other, ROLE_MEMBER)
        case "remove each other":
            await remove(edge, one, other)
        case _:
            await leave(edge, one)


async def is_admin(edge: Edge, person: Person) -> bool:
    try:
        return await role_of(edge, person) == ROLE_ORG_ADMIN
    except Unauthenticated:
        return False


async def clear(edge: Edge, left: Person) -> None:
    """Remove everybody else."""
    for user_id in (await members(edge, left)).keys() - {left.answer.user.id}:
        await edge.call(edge.team.DeleteMember, team_pb2.DeleteMemberRequest(user_id=user_id), left.context)


async def test_who_is_removed_is_out_at_once_and_keeps_other_organizations(
    edge: Edge, database: Database, owner: Person, redis: Redis
) -> None:
    ana = await join(edge, database, owner)
    elsewhere = await edge.sign_up()
    await join_with_account(edge, database, elsewhere, ana)
    await role_of(edge, ana)
    await remove(edge, owner, ana)
    assert not await redis.exists(f"grant:session:{ana.session_id}")
    with pytest.raises(Unauthenticated):
        await role_of(edge, ana)
    with pytest.raises(Unauthenticated):
        await edge.refresh(ana.answer.refresh_token)
    again = await edge.log_in(ana.email)
    assert again.answer.organization.id == elsewhere.answer.organization.id


async def test_an_admin_ends_a_members_sessions_at_once_and_the_member_may_log_in_again(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await join(edge, database, owner)
    again = await edge.log_in(ana.email)
    request = team_pb2.EndMemberSessionsRequest(user_id=ana.answer.user.id)
    with pytest.raises(PermissionDenied):
        await edge.call(edge.team.EndMemberSessions, request, ana.context)
    await edge.call(edge.team.EndMemberSessions, request, owner.context)
    for person in (ana, again):
        with pytest.raises(Unauthenticated):
            await role_of(edge, person)
    assert await role_of(edge, await edge.log_in(ana.email)) == ROLE_MEMBER
    assert await role_of(edge, owner) == ROLE_ORG_ADMIN


async def join_with_account(edge: Edge, database: Database, owner: Person, person: Person) -> None:
    asked = team_pb2.CreateInvitationRequest(email=person.email, role=ROLE_MEMBER)
    await edge.call(edge.team.CreateInvitation, asked, owner.context)
    token = await mails.newest(database, owner, "invitation")
    accepted = team_pb2.AcceptInvitationRequest(token=token, password=PASSWORD)
    await edge.call(edge.invitations.AcceptInvitation, accepted)


async def test_who_belongs_nowhere_any_more_is_told_so_after_the_right_password_only(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await join(edge, database, owner)
    await remove(edge, owner, ana)
    with pytest.raises(PermissionDenied) as refusal:
        await edge.log_in(ana.email)
    assert refusal.value.reason == "INSUFFICIENT_ROLE"
    with pytest.raises(Unauthenticated):
        await edge.log_in(ana.email, "another quiet bend")


async def test_what_happens_in_the_team_is_in_the_trail(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await join(edge, database, owner)
    await change(edge, owner, ana, ROLE_ORG_ADMIN)
    await remove(edge, owner, ana)
    page = await edge.call(edge.audit.ListAuditEvents, audit_pb2.ListAuditEventsRequest(), owner.context)
    removed, changed, joined, invited = page.audit_events[:4]
    assert [event.act for event in (invited, joined, changed, removed)] == [
        "member_invited",
        "member_joined",
        "member_role_changed",
        "member_removed",
    ]
    assert (dict(changed.before), dict(changed.after)) == ({"role": "MEMBER"}, {"role": "ORG_ADMIN"})
    assert dict(removed.before) == {"role": "ORG_ADMIN"}
    assert {event.target_id for event in (joined, changed, removed)} == {ana.answer.user.id}


async def test_another_organizations_members_are_not_there(
    edge: Edge, database: Database, owner: Person
) -> None:
    stranger = await edge.sign_up()
    for attempt in (change(edge, stranger, owner, ROLE_MEMBER), remove(edge, stranger, owner)):
        with pytest.raises(NotFound):
            await attempt
    assert await members(edge, stranger) == {stranger.answer.user.id: ROLE_ORG_ADMIN}


async def test_a_person_goes_from_one_organization_to_another(
    edge: Edge, database: Database, owner: Person
) -> None:
    ana = await edge.sign_up()
    await join_with_account(edge, database, owner, ana)
    held = await edge.call(edge.sessions.ListMemberships, sessions_pb2.ListMembershipsRequest(), ana.context)
    assert [(each.organization.id, each.role, each.current) for each in held.memberships] == [
        (ana.answer.organization.id, ROLE_ORG_ADMIN, True),
        (owner.answer.organization.id, ROLE_MEMBER, False),
    ]
    request = sessions_pb2.SwitchMembershipRequest(membership_id=held.memberships[1].id)
    there = await edge.signed_in(
        ana.email, await edge.call(edge.sessions.SwitchMembership, request, ana.context)
    )
    assert there.context.organization_id == UUID(owner.answer.organization.id)
    assert there.context.role is Role.MEMBER
    with pytest.raises(Unauthenticated):
        await role_of(edge, ana)
    foreign = sessions_pb2.SwitchMembershipRequest(membership_id=held.memberships[1].id)
    with pytest.raises(NotFound):
        await edge.call(edge.sessions.SwitchMembership, foreign, owner.context)


async def test_refusals_are_refusals_and_never_failures(edge: Edge, owner: Person) -> None:
    nobody = str(uuid4())
    for request, method in (
        (team_pb2.UpdateMemberRequest(user_id=nobody, role=ROLE_MEMBER), edge.team.UpdateMember),
        (team_pb2.DeleteMemberRequest(user_id=nobody), edge.team.DeleteMember),
        (team_pb2.EndMemberSessionsRequest(user_id=nobody), edge.team.EndMemberSessions),
        (team_pb2.DeleteInvitationRequest(invitation_id=nobody), edge.team.DeleteInvitation),
    ):
        with pytest.raises(DomainError) as refusal:
            await edge.call(method, request, owner.context)
        assert isinstance(refusal.value, NotFound)
