"""What the platform's operators see across organizations, through the role `identity_platform`."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from chassis.database import RoleDatabase
from services.identity.organizations import COLUMNS, PLATFORM, Organization
from services.identity.tables import organizations


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
