"""Entries of the list by what is asked for: an address or a part of it, a reason, a time."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from services.sending.statuses import SuppressionReason
from services.sending.tables import suppressions


@dataclass(frozen=True, slots=True)
class Suppression:
    """An entry of the list, and where it comes from: the message and the report that led to it, a note, who added it."""

    id: UUID
    email: str
    email_digest: bytes
    reason: str
    note: str
    message_id: UUID | None
    rule: str
    source: str
    report_id: UUID | None
    actor_kind: str
    actor_id: str
    created_at: datetime


_SELECT = select(*(suppressions.c[name] for name in Suppression.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What entries must be like; None asks for nothing."""

    address: EmailAddress | None = None
    # A part of the address, in any case.
    search: str = ""
    reason: SuppressionReason | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page_suppressions(
    session: TenantSession, wanted: Wanted, *, before: UUID | None, size: int
) -> list[Suppression]:
    """Up to `size` entries, newest first, that are older than `before`."""
    statement = _SELECT.where(*_conditions(wanted)).order_by(suppressions.c.id.desc()).limit(size)
    if before is not None:
        statement = statement.where(suppressions.c.id < before)
    return [Suppression(**row) for row in (await session.execute(statement)).mappings()]


async def page_from_the_oldest(
    session: TenantSession, wanted: Wanted, *, after: UUID | None, size: int
) -> list[Suppression]:
    """Up to `size` entries, oldest first, that are newer than `after`."""
    statement = _SELECT.where(*_conditions(wanted)).order_by(suppressions.c.id).limit(size)
    if after is not None:
        statement = statement.where(suppressions.c.id > after)
    return [Suppression(**row) for row in (await session.execute(statement)).mappings()]


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.address is not None:
        conditions.append(suppressions.c.email_digest == wanted.address.digest)
    if wanted.search:
        conditions.append(func.strpos(func.lower(suppressions.c.email), func.lower(wanted.search)) > 0)
    if wanted.reason is not None:
        conditions.append(suppressions.c.reason == wanted.reason.value)
    if wanted.since is not None:
        conditions.append(suppressions.c.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(suppressions.c.created_at < wanted.until)
    return conditions
