"""The first super admin, who is there from the settings alone.

Operators are the members of the platform's own organization. Making sure of one is safe to repeat, and to do in several
replicas at once.
"""

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from chassis.context import PLATFORM, RequestContext, Role
from chassis.database import Database, TenantSession
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.identity import audit, memberships, users
from services.identity.audit import Act
from services.identity.lookup import Lookup
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords
from services.identity.plans import Plan
from services.identity.tables import organizations


class NotAnOperator(Exception):
    """The address of the settings belongs to somebody who signed up with it."""


async def ensure_super_admin(
    database: Database, lookup: Lookup, passwords: Passwords, *, email: str, password: Secret
) -> None:
    """Make the super admin of the settings unless there is one; an existing one keeps the password it has.

    Raises NotAnOperator when the address signed up by itself: whoever chose that password must not become an operator.
    """
    address = EmailAddress.parse(email)
    if await _is_operator(lookup, address):
        return
    await refuse_weak(password, email=address.text)
    password_hash = await passwords.hash(password)
    async with database.tenant_transaction(RequestContext.of_process("identity", PLATFORM)) as session:
        await _one_replica_at_a_time(session)
        if await _is_operator(lookup, address):
            return
        await session.execute(
            insert(organizations).values(name="Platform", plan=Plan.ENTERPRISE).on_conflict_do_nothing()
        )
        user_id = new_id()
        await memberships.add(session, user_id, Role.SUPER_ADMIN)
        await users.add(session, user_id, email=address, name="Super admin", password_hash=password_hash)
        await audit.record(session, Act.OPERATOR_ADDED, user_id)


async def _is_operator(lookup: Lookup, address: EmailAddress) -> bool:
    person = await lookup.person(address)
    if person is None:
        return False
    if not any(held.organization.is_platform for held in await lookup.memberships_of(person.user.id)):
        raise NotAnOperator(f"{address} has signed up by itself; give SUPER_ADMIN_EMAIL another address")
    return True


async def _one_replica_at_a_time(session: TenantSession) -> None:
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('identity.super_admin', 0))"))
