"""Attempts as their organization sees them: what each post of a delivery came to."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from chassis.database import TenantSession
from services.webhooks.tables import attempts

MOST_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One post, or why there was none."""

    id: UUID
    number: int
    outcome: str
    status_code: int | None
    error: str
    address: str
    duration_ms: int
    response_body: str
    attempted_at: datetime


_COLUMNS = [attempts.c[name] for name in Attempt.__dataclass_fields__]


async def attempts_of(session: TenantSession, delivery_id: UUID) -> list[Attempt]:
    """The attempts of a delivery, the first one first; of more than `MOST_ATTEMPTS` the newest."""
    found = await session.execute(
        select(*_COLUMNS)
        .where(attempts.c.delivery_id == delivery_id)
        .order_by(attempts.c.id.desc())
        .limit(MOST_ATTEMPTS)
    )
    return [Attempt(**row) for row in found.mappings()][::-1]
