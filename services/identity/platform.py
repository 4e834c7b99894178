"""What the platform's operators see across organizations, through the role `identity_platform`."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal, select

from chassis.context import PLATFORM, Role
from chassis.database import RoleDatabase
from chassis.errors import NotFound
from services.identity.audit import AuditEvent
from services.identity.organizations import COLUMNS, Organization
from services.identity.tables import audit_events, organizations


class Platform:
    """The questions that operators can ask."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def organizations(self, *, before: UUID | None, size: int) -> list[Organization]:
        """At most `size` organizations, newest first, that were made before the one named."""
        key = organizations.c.organization_id
        statement: Select[Any] = select(*COLUMNS).where(key != PLATFORM).order_by(key.desc()).limit(size)
        if before is not None:
            statement = statement.where(key < before)
        async with self._database.transaction() as connection:
            return [Organization.of(row) for row in await connection.execute(statement)]

    async def organization(self, organization_id: UUID) -> Organization:
        """One organization; NotFound for an id that is none's."""
        key = organizations.c.organization_id
        statement: Select[Any] = select(*COLUMNS).where(key == organization_id, key != PLATFORM)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound("organization")
        return Organization.of(row)

    async def audit_events(self, *, before: UUID | None, size: int) -> list[AuditEvent]:
        """At most `size` acts of operators, newest first, that are older than the one named."""
        # Written out, as the index of exactly these rows has them.
        by_operators = audit_events.c.role == literal(Role.SUPER_ADMIN.name, literal_execute=True)
        on_the_platform = audit_events.c.organization_id == literal(PLATFORM, literal_execute=True)
        statement: Select[Any] = (
            select(audit_events)
            .where(by_operators | on_the_platform)
            .order_by(audit_events.c.id.desc())
            .limit(size)
        )
        if before is not None:
            statement = statement.where(audit_events.c.id < before)
        async with self._database.transaction() as connection:
            return [AuditEvent(**row) for row in (await connection.execute(statement)).mappings()]
