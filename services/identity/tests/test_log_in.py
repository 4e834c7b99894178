"""Logging in with a password."""

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from chassis.database import Database, RoleDatabase
from chassis.errors import InvalidRequest, Unauthenticated
from services.identity.audit import Act
from services.identity.settings import IdentitySettings
from services.identity.tables import audit_events, users
from services.identity.tests.edge import PASSWORD, Edge


async def test_the_password_of_the_sign_up_logs_in_to_the_same_organization(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    again = await edge.log_in(person.email.title())
    assert again.answer.user == person.answer.user
    assert again.answer.organization == person.answer.organization
    assert again.context.role is person.context.role
    assert again.session_id != person.session_id
    async with database.tenant_transaction(person.context) as session:
        acts = (await session.execute(select(audit_events.c.act).order_by(audit_events.c.id))).scalars().all()
    assert acts == [Act.SIGNED_UP, Act.LOGGED_IN]


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(edge: Edge) -> None:
    person = await edge.sign_up()
    with pytest.raises(Unauthenticated) as wrong:
        await edge.log_in(person.email, "another quiet bend")
    with pytest.raises(Unauthenticated) as unknown:
        await edge.log_in("nobody@people.test")
    assert wrong.value.args == unknown.value.args
    assert (wrong.value.reason, wrong.value.violations) == (unknown.value.reason, unknown.value.violations)


async def test_an_unknown_address_costs_the_same_argon2_work(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await edge.sign_up()
    verified: list[str] = []
    verify = PasswordHasher.verify

    def noted(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append(password_hash.rsplit("$", 2)[0])
        return bool(verify(hasher, password_hash, password))

    monkeypatch.setattr(PasswordHasher, "verify", noted)
    for email in (person.email, "nobody@people.test"):
        with pytest.raises(Unauthenticated):
            await edge.log_in(email, "another quiet bend")
    known, unknown = verified
    assert known == unknown == "$argon2id$v=19$m=19456,t=2,p=1"


async def test_a_hash_of_older_parameters_is_made_anew_when_its_owner_logs_in(
    edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    older = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    async with database.tenant_transaction(person.context) as session:
        await session.execute(update(users).values(password_hash=older))
    await edge.log_in(person.email)
    async with RoleDatabase(settings.database_lookup_url) as lookup, lookup.transaction() as connection:
        stored = await connection.scalar(select(users.c.password_hash).where(users.c.email == person.email))
    assert str(stored).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await edge.log_in(person.email)


async def test_an_address_that_is_none_is_a_wrong_request_and_no_failed_log_in(edge: Edge) -> None:
    with pytest.raises(InvalidRequest):
        await edge.log_in("nobody")
