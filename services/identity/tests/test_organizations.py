"""An organization in the eyes of its own people."""

from dataclasses import replace

import pytest
from sqlalchemy import func, update

from chassis.context import Role
from chassis.database import Database
from chassis.errors import InvalidRequest, PermissionDenied
from flownurture.identity.v1 import organization_pb2
from services.identity.tables import organizations
from services.identity.tests.edge import Edge, Person


async def _get(edge: Edge, person: Person) -> organization_pb2.Organization:
    request = organization_pb2.GetOrganizationRequest()
    answer: organization_pb2.Organization = await edge.call(
        edge.organizations.GetOrganization, request, person.context
    )
    return answer


async def test_an_organization_is_renamed_by_its_admin(edge: Edge) -> None:
    person = await edge.sign_up()
    assert await _get(edge, person) == person.answer.organization
    request = organization_pb2.UpdateOrganizationRequest(name=" Ferro & Sons ")
    renamed = await edge.call(edge.organizations.UpdateOrganization, request, person.context)
    assert renamed.name == "Ferro & Sons"
    assert await _get(edge, person) == renamed
    nothing = organization_pb2.UpdateOrganizationRequest()
    assert await edge.call(edge.organizations.UpdateOrganization, nothing, person.context) == renamed


@pytest.mark.parametrize("name", ["", "  ", "n" * 201, "a\0b"])
async def test_a_name_that_is_none_is_refused(edge: Edge, name: str) -> None:
    person = await edge.sign_up()
    request = organization_pb2.UpdateOrganizationRequest(name=name)
    with pytest.raises(InvalidRequest) as refused:
        await edge.call(edge.organizations.UpdateOrganization, request, person.context)
    assert [violation.field for violation in refused.value.violations] == ["name"]


async def test_a_member_reads_the_organization_and_does_not_rename_it(edge: Edge) -> None:
    person = await edge.sign_up()
    member = replace(person, context=replace(person.context, role=Role.MEMBER))
    assert await _get(edge, member)
    request = organization_pb2.UpdateOrganizationRequest(name="Mine now")
    with pytest.raises(PermissionDenied):
        await edge.call(edge.organizations.UpdateOrganization, request, member.context)


async def test_a_suspended_organizations_grants_say_so(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    async with database.tenant_transaction(person.context) as session:
        await session.execute(update(organizations).values(suspended_at=func.now()))
    assert (await edge.resolve_session(person.session_id)).organization_suspended
    assert (await _get(edge, person)).suspended


async def test_a_plans_features_and_rate_are_in_the_grant(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    before = await edge.resolve_session(person.session_id)
    async with database.tenant_transaction(person.context) as session:
        await session.execute(update(organizations).values(plan="pro"))
    after = await edge.resolve_session(person.session_id)
    assert not before.features
    assert "advanced_segments" in after.features
    assert after.requests_per_minute > before.requests_per_minute
