"""Saved rules, and the contacts that fit them whenever they are looked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import NotFound, PermissionDenied
from chassis.identifiers import new_id
from services.contacts.contact_rows import SELECT_CONTACTS, Contact
from services.contacts.custom_fields import read_fields
from services.contacts.lists import require_lists
from services.contacts.rule_sql import condition
from services.contacts.rules import (
    Document,
    HasTag,
    InList,
    Rule,
    conditions_of,
    is_advanced,
    kept,
    kept_rule,
    parse_rule,
)
from services.contacts.sets import among
from services.contacts.tables import contacts, segments
from services.contacts.tags import require_tags

FEATURE = "advanced_segments"

# A rule may probe a million memberships or engagements: hashed, if there is room, instead of one by one.
_GIVE_ROOM = text("SET LOCAL work_mem = '96MB'")


class AdvancedSegmentsRefused(PermissionDenied):
    """The rule takes a feature that the organization's plan does not have."""

    def __init__(self) -> None:
        super().__init__(
            f"Groups within groups, engagement and relative dates take the plan feature {FEATURE}.",
            reason="PLAN_UPGRADE_REQUIRED",
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """A saved rule."""

    id: UUID
    name: str
    description: str
    rule: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


_COLUMNS = [segments.c[name] for name in Segment.__dataclass_fields__]


async def create_segment(session: TenantSession, name: str, description: str, rule: Document) -> Segment:
    """Keep a rule. Raises InvalidRequest, NotFound for a list or tag that is not there, AdvancedSegmentsRefused."""
    created = await session.execute(
        insert(segments)
        .values(id=new_id(), name=name, description=description, rule=await checked(session, rule))
        .returning(*_COLUMNS)
    )
    return Segment(**created.mappings().one())


async def get_segment(session: TenantSession, segment_id: UUID) -> Segment:
    """The segment. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(segments.c.id == segment_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"segment as {segment_id}")
    return Segment(**row)


async def page_segments(session: TenantSession, *, before: UUID | None, size: int) -> list[Segment]:
    """Up to `size` segments, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(segments.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(segments.c.id < before)
    return [Segment(**row) for row in (await session.execute(wanted)).mappings()]


async def update_segment(
    session: TenantSession,
    segment_id: UUID,
    *,
    name: str | None,
    description: str | None,
    rule: Document | None,
) -> Segment:
    """Change what is not None. Raises NotFound and what `create_segment` does."""
    given = {
        "name": name,
        "description": description,
        "rule": None if rule is None else await checked(session, rule),
    }
    changes = {column: value for column, value in given.items() if value is not None}
    if changes:
        await session.execute(
            update(segments).where(segments.c.id == segment_id).values(**changes, updated_at=func.now())
        )
    return await get_segment(session, segment_id)


async def delete_segment(session: TenantSession, segment_id: UUID) -> None:
    """Delete a segment; its contacts stay. Raises NotFound."""
    gone = await session.scalar(delete(segments).where(segments.c.id == segment_id).returning(segments.c.id))
    if gone is None:
        raise NotFound(f"segment as {segment_id}")


async def preview(
    session: TenantSession, document: Document, sample_size: int
) -> tuple[int, Sequence[Contact]]:
    """How many contacts fit a rule now, and the newest of them. Raises what `create_segment` does."""
    fits = await fitting(session, await checked(session, document))
    await session.execute(_GIVE_ROOM)
    count = await session.scalar(select(func.count()).select_from(contacts).where(fits))
    newest = await session.execute(
        select(contacts.c.id).where(fits).order_by(contacts.c.id.desc()).limit(sample_size)
    )
    shown = SELECT_CONTACTS.where(among(contacts.c.id, list(newest.scalars()))).order_by(contacts.c.id.desc())
    return count, [Contact(**row) for row in (await session.execute(shown)).mappings()]


async def page_contacts_of(
    session: TenantSession, segment_id: UUID, *, before: UUID | None, size: int
) -> list[Contact]:
    """Up to `size` contacts that fit the segment now, newest first, older than `before`.

    Raises NotFound, and AdvancedSegmentsRefused when the plan no longer has what its rule takes.
    """
    segment = await get_segment(session, segment_id)
    rule = kept_rule(segment.rule, await read_fields(session))
    _refuse_beyond_plan(session, rule)
    wanted = SELECT_CONTACTS.where(condition(rule, _now())).order_by(contacts.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(contacts.c.id < before)
    return [Contact(**row) for row in (await session.execute(wanted)).mappings()]


async def checked(session: TenantSession, document: Document) -> dict[str, Any]:
    """The document as it is kept. Raises what `create_segment` does."""
    fields = await read_fields(session)
    rule = parse_rule(document, fields)
    _refuse_beyond_plan(session, rule)
    conditions = list(conditions_of(rule))
    await require_lists(session, {each.list_id for each in conditions if isinstance(each, InList)})
    await require_tags(session, {each.tag_id for each in conditions if isinstance(each, HasTag)})
    return kept(document, fields)


async def usable(session: TenantSession, segment: Segment) -> dict[str, Any]:
    """The segment's document as it is kept. Raises AdvancedSegmentsRefused when the plan no longer has what its rule takes."""
    _refuse_beyond_plan(session, kept_rule(segment.rule, await read_fields(session)))
    return dict(segment.rule)


async def fitting(session: TenantSession, document: Document) -> ColumnElement[bool]:
    """What holds for the contacts that fit a kept document now."""
    return condition(kept_rule(document, await read_fields(session)), _now())


def _refuse_beyond_plan(session: TenantSession, rule: Rule) -> None:
    if is_advanced(rule) and FEATURE not in session.context.features:
        raise AdvancedSegmentsRefused


def _now() -> datetime:
    return datetime.now(UTC)
