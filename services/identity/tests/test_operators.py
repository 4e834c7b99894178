"""The platform's operators: who they are and how far they see."""

import asyncio
from uuid import uuid4

import jwt
import pytest

from chassis.context import PLATFORM, Role
from chassis.errors import PermissionDenied, Unauthenticated
from chassis.secret import Secret
from flownurture.identity.v1 import admin_pb2, auth_pb2, organization_pb2
from services.identity.operators import NotAnOperator
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import Start
from services.identity.tests.edge import Edge, Person


async def _operator(edge: Edge, settings: IdentitySettings) -> Person:
    assert settings.super_admin_email
    return await edge.log_in(settings.super_admin_email)


async def _list(edge: Edge, person: Person, **asked: object) -> admin_pb2.ListOrganizationsResponse:
    request = admin_pb2.ListOrganizationsRequest(**asked)  # type: ignore[arg-type]
    answer: admin_pb2.ListOrganizationsResponse = await edge.call(
        edge.admin.ListOrganizations, request, person.context
    )
    return answer


async def test_the_super_admin_of_the_settings_is_there_and_belongs_to_no_organization(
    edge: Edge, settings: IdentitySettings
) -> None:
    operator = await _operator(edge, settings)
    assert not operator.answer.HasField("organization")
    assert operator.context.role is Role.SUPER_ADMIN
    assert operator.context.organization_id is None
    assert "org" not in jwt.decode(operator.answer.access_token, options={"verify_signature": False})
    me = await edge.call(edge.auth.GetMe, auth_pb2.GetMeRequest(), operator.context)
    assert me.role == Role.SUPER_ADMIN
    assert not me.HasField("organization")


async def test_a_super_admins_session_is_refreshed_and_ended_like_any(
    edge: Edge, settings: IdentitySettings
) -> None:
    operator = await _operator(edge, settings)
    refreshed = await edge.refresh(operator.answer.refresh_token)
    await edge.call(edge.auth.LogOut, auth_pb2.LogOutRequest(), operator.context)
    with pytest.raises(Unauthenticated):
        await edge.refresh(refreshed.refresh_token)
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(operator.session_id)


async def test_a_super_admin_has_no_way_into_a_tenants_data(edge: Edge, settings: IdentitySettings) -> None:
    operator = await _operator(edge, settings)
    with pytest.raises(PermissionDenied):
        await edge.call(
            edge.organizations.GetOrganization, organization_pb2.GetOrganizationRequest(), operator.context
        )


async def test_an_operator_lists_all_organizations_newest_first_but_not_the_platforms_own(
    edge: Edge, settings: IdentitySettings
) -> None:
    operator = await _operator(edge, settings)
    people = [await edge.sign_up() for _ in range(3)]
    theirs = {person.answer.organization.id for person in people}
    listed: list[organization_pb2.Organization] = []
    token = ""
    while not theirs <= {organization.id for organization in listed}:
        page = await _list(edge, operator, page_size=2, page_token=token)
        listed += page.organizations
        token = page.next_page_token
        assert token or theirs <= {organization.id for organization in listed}
    ids = [organization.id for organization in listed]
    assert ids == sorted(set(ids), reverse=True)
    everything = await _list(edge, operator, page_size=500)
    assert str(PLATFORM) not in {organization.id for organization in everything.organizations}


async def test_nobody_but_an_operator_lists_organizations(edge: Edge) -> None:
    with pytest.raises(PermissionDenied):
        await _list(edge, await edge.sign_up())


async def test_replicas_that_start_at_once_make_one_super_admin_with_the_password_of_the_first(
    start: Start, settings: IdentitySettings
) -> None:
    fresh = settings.model_copy(update={"super_admin_email": f"operator-{uuid4().hex}@platform.test"})
    edges = await asyncio.gather(*(start(fresh) for _ in range(4)))
    operators = [await _operator(edge, fresh) for edge in edges]
    assert len({operator.answer.user.id for operator in operators}) == 1
    changed = fresh.model_copy(update={"super_admin_password": Secret("another quiet bend")})
    assert await _operator(await start(changed), fresh)


async def test_an_address_that_signed_up_by_itself_never_becomes_an_operator(
    start: Start, edge: Edge, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    with pytest.raises(NotAnOperator):
        await start(settings.model_copy(update={"super_admin_email": person.email}))
    assert (await edge.log_in(person.email)).context.role is Role.ORG_ADMIN
