"""An operator alone is given all of an organization, of one that there is, and never a part of it as if it were all."""

import json
from uuid import UUID, uuid4

import pytest

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.errors import NotFound, PermissionDenied, Unavailable
from services.identity import audit
from services.identity.audit import Act
from services.identity.settings import IdentitySettings
from services.identity.tests.edge import Edge, Person


@pytest.fixture(scope="module")
async def operator(edge: Edge, settings: IdentitySettings) -> Person:
    assert settings.super_admin_email
    return await edge.log_in(settings.super_admin_email)


async def exports_told(database: Database, organization_id: str) -> int:
    context = RequestContext.of_process("identity", UUID(organization_id))
    async with database.tenant_transaction(context, read_only=True) as session:
        return len(await audit.page(session, before=None, size=10, act=Act.ORGANIZATION_EXPORTED))


async def test_what_a_service_that_does_not_answer_should_have_given_breaks_the_answer_off_and_the_trail_tells(
    edge: Edge, operator: Person, database: Database
) -> None:
    owner = await edge.sign_up()
    organization_id = owner.answer.organization.id
    given = bytearray()

    async def read() -> None:
        async for piece in edge.exported(organization_id, operator.context):
            given.extend(piece)

    with pytest.raises(Unavailable):
        await read()
    lines = [json.loads(line) for line in given.splitlines()]
    assert {line["service"] for line in lines} == {"identity"}
    [user] = [line["row"] for line in lines if line["table"] == "users"]
    assert user["email"] == owner.email
    assert await exports_told(database, organization_id) == 1


async def test_nobody_but_an_operator_is_given_an_organization_and_none_the_platforms_own_or_one_that_is_none(
    edge: Edge, operator: Person, database: Database
) -> None:
    owner = await edge.sign_up()
    organization_id = owner.answer.organization.id
    for context, named, refusal in (
        (owner.context, organization_id, PermissionDenied),
        (operator.context, str(uuid4()), NotFound),
        (operator.context, str(PLATFORM), NotFound),
    ):
        with pytest.raises(refusal):
            await anext(edge.exported(named, context))
    assert await exports_told(database, organization_id) == 0
