"""What the app role can and cannot do, whatever the service's code does with it."""

from uuid import UUID

import psycopg
import pytest
from sqlalchemy import exc, text

from chassis.context import PLATFORM, RequestContext, Role
from chassis.database import Database, RoleDatabase
from chassis.errors import PermissionDenied
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.identity.v1 import admission_pb2
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import ServiceEnvironment
from services.identity.tests.edge import Edge


async def test_a_tenant_can_neither_read_nor_change_another_tenants_people(
    edge: Edge, database: Database
) -> None:
    victim, attacker = await edge.sign_up(), await edge.sign_up()
    async with database.tenant_transaction(attacker.context) as session:
        seen = (await session.execute(text("SELECT id FROM users"))).scalars().all()
        assert seen == [UUID(attacker.answer.user.id)]
        changed = await session.execute(
            text("UPDATE users SET password_hash = 'x' WHERE id = :id"), {"id": victim.answer.user.id}
        )
        assert changed.rowcount == 0
    assert await edge.log_in(victim.email)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "UPDATE users SET email = 'x'",
        "DELETE FROM users",
        "UPDATE audit_events SET act = 'nothing'",
        "DELETE FROM audit_events",
        "TRUNCATE sessions",
    ],
)
async def test_some_things_the_service_cannot_do_at_all(
    edge: Edge, database: Database, statement: str
) -> None:
    person = await edge.sign_up()
    with pytest.raises(exc.ProgrammingError) as refused:
        async with database.tenant_transaction(person.context) as session:
            await session.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


async def test_nobody_becomes_a_super_admin_within_an_organization(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    with pytest.raises(exc.IntegrityError):
        async with database.tenant_transaction(person.context) as session:
            await session.execute(
                text("UPDATE memberships SET role = :role"), {"role": Role.SUPER_ADMIN.name}
            )


async def test_nobody_is_less_than_super_admin_in_the_platforms_own(edge: Edge, database: Database) -> None:
    assert edge
    operators = RequestContext.of_process("identity", PLATFORM)
    with pytest.raises(exc.IntegrityError):
        async with database.tenant_transaction(operators) as session:
            await session.execute(text("UPDATE memberships SET role = :role"), {"role": Role.ORG_ADMIN.name})


async def test_a_session_and_its_tokens_end_with_the_membership(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()
    async with database.tenant_transaction(person.context) as session:
        await session.execute(text("DELETE FROM memberships"))
        assert await session.scalar(text("SELECT count(*) FROM sessions")) == 0
        assert await session.scalar(text("SELECT count(*) FROM refresh_tokens")) == 0


@pytest.mark.parametrize("role", ["database_lookup_url", "database_platform_url"])
async def test_the_roles_that_see_across_organizations_change_nothing(
    settings: IdentitySettings, role: str
) -> None:
    async with RoleDatabase(getattr(settings, role)) as database:
        for statement in (
            "UPDATE organizations SET name = 'x'",
            "DELETE FROM organizations",
            "DELETE FROM sessions",
            "UPDATE users SET password_hash = 'x'",
        ):
            with pytest.raises(exc.ProgrammingError) as refused:
                async with database.transaction() as connection:
                    await connection.execute(text(statement))
            assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT confirmed_at FROM second_factors",
        "UPDATE second_factors SET confirmed_at = NULL",
        "UPDATE second_factors SET user_id = gen_random_uuid()",
        "DELETE FROM second_factors",
        "SELECT * FROM recovery_codes",
    ],
)
async def test_who_seals_seeds_again_does_nothing_else_with_factors(
    settings: IdentitySettings, statement: str
) -> None:
    async with RoleDatabase(settings.database_scheduler_url) as database:
        with pytest.raises(exc.ProgrammingError) as refused:
            async with database.transaction() as connection:
                await connection.execute(text(statement))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


async def test_the_operators_list_cannot_read_people(settings: IdentitySettings) -> None:
    async with RoleDatabase(settings.database_platform_url) as database:
        with pytest.raises(exc.ProgrammingError):
            async with database.transaction() as connection:
                await connection.execute(text("SELECT email FROM users"))


async def test_nobody_but_the_gateway_resolves_credentials(
    edge: Edge, service_environment: ServiceEnvironment
) -> None:
    person = await edge.sign_up()
    stamper = Stamper("contacts", Secret(service_environment("contacts")["STAMP_PRIVATE_KEY"]))
    request = admission_pb2.ResolveCredentialRequest(session_id=str(person.session_id))
    async with Peer(edge.target, "identity", stamper) as contacts:
        other = Edge(contacts, edge.target)
        with pytest.raises(PermissionDenied):
            await other.call(other.admission.ResolveCredential, request, person.context)
