"""Signing up: an account, an organization and a session, all or nothing."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from chassis.context import Role
from chassis.database import Database, RoleDatabase
from chassis.errors import Conflict, InvalidRequest
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import auth_pb2, organization_pb2
from flownurture.identity.v1.events_pb2 import OrganizationCreated, SendAccountMail
from services.identity.audit import Act
from services.identity.settings import IdentitySettings
from services.identity.tables import audit_events, organizations
from services.identity.tests.edge import PASSWORD, Edge, Person


async def test_who_signs_up_is_admin_of_a_new_organization_on_the_free_plan(edge: Edge) -> None:
    person = await edge.sign_up(name=" Ines\n Ferro ")
    answer = person.answer
    assert person.context.role is Role.ORG_ADMIN
    assert (answer.user.name, answer.user.email) == ("Ines Ferro", person.email)
    assert answer.organization.plan == organization_pb2.PLAN_FREE
    assert not answer.organization.suspended
    assert str(person.context.organization_id) == answer.organization.id
    assert (answer.token_type, answer.expires_in) == ("Bearer", 600)


async def test_an_address_signs_up_once_however_its_letters_are_cased(edge: Edge) -> None:
    person = await edge.sign_up()
    with pytest.raises(Conflict):
        await edge.sign_up(email=person.email.upper())


async def test_of_two_sign_ups_at_once_with_one_address_one_succeeds_and_the_other_leaves_nothing(
    edge: Edge, settings: IdentitySettings
) -> None:
    email, name = f"twice-{uuid4().hex}@people.test", f"Twice {uuid4().hex}"
    outcomes = await asyncio.gather(
        edge.sign_up(email=email, organization_name=name),
        edge.sign_up(email=email.upper(), organization_name=name),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Conflict, Person}
    async with RoleDatabase(settings.database_platform_url) as platform, platform.transaction() as connection:
        made = await connection.scalar(
            select(func.count()).select_from(organizations).where(organizations.c.name == name)
        )
    assert made == 1
    assert (await edge.log_in(email)).answer.organization.name == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", ""),
        ("password", "short"),
        ("password", "password12345"),
        ("password", "x" * 257),
        ("name", ""),
        ("name", "   "),
        ("name", "nul\0"),
        ("name", "n" * 201),
        ("organization_name", " "),
    ],
)
async def test_what_is_wrong_with_a_sign_up_is_said_by_field(edge: Edge, field: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await edge.sign_up(**{field: value})
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_a_password_equal_to_the_address_is_refused(edge: Edge) -> None:
    with pytest.raises(InvalidRequest):
        await edge.sign_up(email="someone.careless@people.test", password="Someone.Careless@people.test")


async def test_a_sign_up_is_announced_and_written_to_the_trail(edge: Edge, database: Database) -> None:
    person = await edge.sign_up(organization_name="Ferro Announced")
    async with database.tenant_transaction(person.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox"))).scalars().all()
        acts = (await session.execute(select(audit_events.c.act, audit_events.c.actor_id))).all()
    envelope, mail = sorted(
        (Envelope.FromString(envelope) for envelope in envelopes), key=lambda each: each.type
    )
    assert mail.type == SendAccountMail.DESCRIPTOR.full_name
    assert SendAccountMail.FromString(mail.payload).to == person.email
    assert envelope.organization_id == person.answer.organization.id
    assert OrganizationCreated.FromString(envelope.payload).name == "Ferro Announced"
    assert [tuple(row) for row in acts] == [(Act.SIGNED_UP, person.answer.user.id)]


async def test_a_new_organization_sees_nothing_of_another(edge: Edge, database: Database) -> None:
    await edge.sign_up()
    person = await edge.sign_up()
    tables = ("organizations", "memberships", "sessions", "refresh_tokens", "audit_events")
    async with database.tenant_transaction(person.context) as session:
        for table in tables:
            assert await session.scalar(text(f"SELECT count(*) FROM {table}")) == 1, table
        seen = (await session.execute(text("SELECT email FROM users"))).scalars().all()
    assert seen == [person.email]


async def test_sign_up_is_refused_whole_when_any_part_of_it_is(edge: Edge) -> None:
    request = auth_pb2.SignUpRequest(email="nobody", password=PASSWORD[:5])
    with pytest.raises(InvalidRequest) as refused:
        await edge.call(edge.auth.SignUp, request)
    assert {violation.field for violation in refused.value.violations} == {
        "email",
        "password",
        "name",
        "organization_name",
    }
