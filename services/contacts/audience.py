"""Whom a campaign is for: the contacts in any of some lists, tags and segments and in none of others, each once.

Whatever their status: who must not get it is vetoed by the suppression process, where everybody can see it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    lateral,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import distinct_on

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.contacts.contact_rows import values_of
from services.contacts.custom_fields import read_fields
from services.contacts.lists import require_lists
from services.contacts.references import require
from services.contacts.segments import fitting
from services.contacts.sets import among, rows_of
from services.contacts.tables import contacts, lists, memberships, segments, taggings
from services.contacts.tags import existing_tags_named


@dataclass(frozen=True, slots=True)
class Selection:
    """Lists, tags and segments: whoever is in any of them."""

    list_ids: frozenset[UUID] = frozenset()
    segment_ids: frozenset[UUID] = frozenset()
    tags: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.list_ids or self.segment_ids or self.tags)


# Contact id, address, its digest, first and last name; where custom fields are wanted, a JSON object of them.
Recipient: TypeAlias = Sequence[Any]

_RECIPIENT = (
    contacts.c.id,
    contacts.c.email,
    contacts.c.email_digest,
    contacts.c.first_name,
    contacts.c.last_name,
)


async def stream_recipients(
    database: Database,
    context: RequestContext,
    include: Selection,
    exclude: Selection,
    *,
    after: UUID | None,
    size: int,
    keys: Sequence[str] = (),
) -> AsyncIterator[Sequence[Recipient]]:
    """Batches of up to `size` recipients by ascending id, behind `after`, none of them empty.

    Each batch is a transaction of its own, so that a reader who takes hours holds nothing. The next one is read while this
    one is written. Raises NotFound that names what of the selections does not exist.
    """

    async def read(behind: UUID | None) -> Sequence[Recipient]:
        async with database.tenant_transaction(context, read_only=True) as session:
            return await page_recipients(session, include, exclude, after=behind, size=size, keys=keys)

    batch = await read(after)
    while batch:
        ahead = asyncio.create_task(read(batch[-1][0])) if len(batch) == size else None
        try:
            yield batch
            batch = await ahead if ahead is not None else ()
        finally:
            if ahead is not None and not ahead.done():
                ahead.cancel()
                with suppress(asyncio.CancelledError):
                    await ahead


async def page_recipients(
    session: TenantSession,
    include: Selection,
    exclude: Selection,
    *,
    after: UUID | None,
    size: int,
    keys: Sequence[str] = (),
) -> Sequence[Recipient]:
    """Up to `size` recipients by ascending id, behind `after`, with these custom fields.

    Raises NotFound that names what of the selections does not exist.
    """
    await _require(session, include)
    await _require(session, exclude)
    unwanted = not_(await _in_any(session, exclude)) if exclude else true()
    columns = (*_RECIPIENT, values_of(await read_fields(session), keys)) if keys else _RECIPIENT
    if include.tags or include.segment_ids:
        page = _scan(columns, and_(await _in_any(session, include), unwanted), after, size)
    else:
        page = _first_of_lists(columns, include.list_ids, unwanted, after, size)
    return (await session.execute(page)).all()


async def _require(session: TenantSession, selection: Selection) -> None:
    if selection.list_ids:
        await require_lists(session, selection.list_ids)
    if selection.segment_ids:
        await require(session, "segment", segments, selection.segment_ids)


def _scan(
    columns: Sequence[ColumnElement[Any]], wanted: ColumnElement[bool], after: UUID | None, size: int
) -> Select[Any]:
    page = select(*columns).where(wanted).order_by(contacts.c.id).limit(size)
    return page if after is None else page.where(contacts.c.id > after)


def _first_of_lists(
    columns: Sequence[ColumnElement[Any]],
    list_ids: frozenset[UUID],
    wanted: ColumnElement[bool],
    after: UUID | None,
    size: int,
) -> Select[Any]:
    """The page is among the first of each list: so its cost grows with the page and the lists, not with the contacts."""
    chosen = rows_of("chosen", list_id=(lists.c.id, list_ids))
    first_of_list = (
        select(*columns)
        .join(
            memberships,
            (memberships.c.organization_id == contacts.c.organization_id)
            & (memberships.c.contact_id == contacts.c.id),
        )
        .where(memberships.c.list_id == chosen.c.list_id, wanted)
        .order_by(memberships.c.contact_id)
        .limit(size)
        .correlate(chosen)
    )
    if after is not None:
        # Said of both, since it is not inferred: a merge would read the contacts from the first one on, for every page.
        first_of_list = first_of_list.where(memberships.c.contact_id > after, contacts.c.id > after)
    member = lateral(first_of_list, "member")
    page = select(*(member.c[column.name] for column in columns)).select_from(chosen.join(member, true()))
    return page.ext(distinct_on(member.c.id)).order_by(member.c.id).limit(size)


async def _in_any(session: TenantSession, selection: Selection) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if selection.list_ids:
        conditions.append(
            exists().where(
                memberships.c.organization_id == contacts.c.organization_id,
                memberships.c.contact_id == contacts.c.id,
                among(memberships.c.list_id, selection.list_ids),
            )
        )
    if selection.tags:
        tag_ids = await existing_tags_named(session, selection.tags)
        conditions.append(
            exists().where(
                taggings.c.organization_id == contacts.c.organization_id,
                taggings.c.contact_id == contacts.c.id,
                among(taggings.c.tag_id, tag_ids),
            )
        )
    if selection.segment_ids:
        kept = select(segments.c.rule).where(among(segments.c.id, selection.segment_ids))
        rules = (await session.execute(kept)).scalars().all()
        conditions += [await fitting(session, rule) for rule in rules]
    return or_(*conditions)
