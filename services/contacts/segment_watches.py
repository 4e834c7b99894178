"""Watched segments: who comes into them is told of, once.

A segment is a rule, and a contact may come to fit it by anything: a change, mail that was opened, a day that has passed. So watched
ones are looked at every minute, through all contacts by ascending id, a page a transaction. Who is in it then is kept until the next
look; who was not there before has come in. Whoever comes and goes in between is not seen.
"""

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import Uuid

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.identifiers import new_id
from chassis.scheduler import Scheduler
from services.contacts.announcements import announce_entered
from services.contacts.custom_fields import read_fields
from services.contacts.jobs import POLL, Turn
from services.contacts.rule_sql import probing_condition
from services.contacts.rules import kept_rule
from services.contacts.sets import among, rows_of
from services.contacts.tables import (
    contacts,
    segment_members,
    segment_watches,
    segments,
    segments_watched,
)

_log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
_PAGE = 10_000

# For the scheduler's role. One at a time, so that a process looks with one connection.
_DUE = text("""
    SELECT organization_id, id FROM contacts.segment_watches
    WHERE next_look_at <= now() ORDER BY next_look_at LIMIT 1
""")


async def watch(session: TenantSession, segment_ids: Collection[UUID], event_id: UUID) -> None:
    """Watch these segments and no others, unless a later event has said which. What is watched already goes on.

    A watch begins when the event happened: who is in the segment by then does not come in.
    """
    if not await _is_latest(session, event_id):
        return
    going_on = segment_watches.c.ended_at.is_(None)
    await session.execute(
        update(segment_watches)
        .where(going_on, ~among(segment_watches.c.segment_id, segment_ids))
        .values(ended_at=func.now(), next_look_at=func.now())
    )
    given = rows_of(
        "given",
        id=(segment_watches.c.id, [new_id() for _ in segment_ids]),
        segment_id=(segment_watches.c.segment_id, segment_ids),
    )
    began_at = func.uuid_extract_timestamp(literal(event_id, Uuid))
    await session.execute(
        insert(segment_watches)
        .from_select(["id", "segment_id", "began_at"], select(given.c.id, given.c.segment_id, began_at))
        .on_conflict_do_nothing(index_elements=["organization_id", "segment_id"], index_where=going_on)
    )


class SegmentWatcher:
    """Looks at watched segments of all organizations when it is time to, `page` contacts a transaction."""

    def __init__(self, database: Database, scheduler: RoleDatabase, *, page: int = _PAGE) -> None:
        self._database = database
        self._page = page
        self._scheduler = Scheduler(scheduler, _DUE, POLL, self.take_turn, process="contacts")

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                busy = await self._scheduler.round()
            except Exception:
                _log.exception("looking for watched segments failed")
                busy = 0
            if not busy:
                await asyncio.sleep(POLL.total_seconds())

    async def take_turn(self, context: RequestContext, watch_id: UUID) -> None:
        """Look at a segment to the end, or until it is the turn of others; nothing happens when it is not time yet."""
        async with self._database.tenant_transaction(context) as session:
            if not await _claim(session, watch_id):
                return
        turn, finished, over = Turn(), False, False
        while not (finished or over):
            async with self._database.tenant_transaction(context) as session:
                finished = await _look(session, watch_id, self._page)
                over = turn.over
                if over and not finished:
                    await _go_on(session, watch_id, next_look_at=func.now())


async def _is_latest(session: TenantSession, event_id: UUID) -> bool:
    statement = insert(segments_watched).values(event_id=event_id)
    taken = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id"],
            set_={"event_id": statement.excluded.event_id},
            where=segments_watched.c.event_id < statement.excluded.event_id,
        ).returning(segments_watched.c.event_id)
    )
    return taken.one_or_none() is not None


async def _claim(session: TenantSession, watch_id: UUID) -> bool:
    """Whether it is time to look. Others may a minute later, also when this look fails."""
    claimed = await session.scalar(
        update(segment_watches)
        .where(segment_watches.c.id == watch_id, segment_watches.c.next_look_at <= func.now())
        .values(next_look_at=func.now() + EVERY)
        .returning(segment_watches.c.id)
    )
    return claimed is not None


async def _look(session: TenantSession, watch_id: UUID, page: int) -> bool:
    """Look at the next contacts, and tell who of them has come in; whether that was all there is to do for now."""
    held = await session.execute(
        select(segment_watches).where(segment_watches.c.id == watch_id).with_for_update()
    )
    watched = held.one_or_none()
    if watched is None:
        return True
    if watched.ended_at is not None:
        return await _forget(session, watch_id, page)
    rule = await session.scalar(select(segments.c.rule).where(segments.c.id == watched.segment_id))
    if rule is None:
        await _go_on(session, watch_id, ended_at=func.now())
        return False
    after = watched.after_contact_id or UUID(int=0)
    last = await session.scalar(
        select(contacts.c.id).where(contacts.c.id > after).order_by(contacts.c.id).offset(page - 1).limit(1)
    )
    fits = probing_condition(kept_rule(rule, await read_fields(session)), datetime.now(UTC))
    entered = await _replace_members(session, watched, fits, after=after, last=last)
    announce_entered(session, watched.segment_id, entered)
    if last is not None:
        await _go_on(session, watch_id, after_contact_id=last)
        return False
    await _go_on(session, watch_id, after_contact_id=None, seen_whole=True, next_look_at=func.now() + EVERY)
    return True


async def _replace_members(
    session: TenantSession,
    watched: Row[Any],
    fits: ColumnElement[bool],
    *,
    after: UUID,
    last: UUID | None,
) -> list[UUID]:
    """Keep who among the contacts behind `after`, up to `last`, fits now; answers who has come in, by ascending id."""
    held = segment_members
    of_watch = held.c.watch_id == watched.id
    inside = (
        select(contacts.c.id)
        .where(fits, *_between(contacts.c.id, after, last))
        .cte("inside")
        .prefix_with("MATERIALIZED")
    )
    were = select(held.c.contact_id).where(of_watch, *_between(held.c.contact_id, after, last)).cte("were")
    # With NOT IN they are hashed, however many PostgreSQL takes them to be.
    gone = delete(held).where(
        of_watch,
        *_between(held.c.contact_id, after, last),
        held.c.contact_id.not_in(select(inside.c.id)),
    )
    come = (
        insert(held)
        .from_select(
            ["watch_id", "contact_id"],
            select(literal(watched.id, Uuid), inside.c.id).where(
                inside.c.id.not_in(select(were.c.contact_id))
            ),
        )
        .returning(held.c.contact_id)
        .cte("come")
    )
    # Whoever came to be after the watch began was not in it then.
    later = func.uuid_extract_timestamp(come.c.contact_id) >= watched.began_at
    found = await session.execute(
        select(come.c.contact_id)
        .where(or_(literal(watched.seen_whole), later))
        .order_by(come.c.contact_id)
        .add_cte(gone.cte("gone"))
    )
    return list(found.scalars())


def _between(column: ColumnElement[UUID], after: UUID, last: UUID | None) -> list[ColumnElement[bool]]:
    return [column > after] if last is None else [column > after, column <= last]


async def _forget(session: TenantSession, watch_id: UUID, page: int) -> bool:
    """Forget some of those who were in a segment that is watched no more, and then the watch; whether that was all."""
    members = segment_members
    some = (
        select(members.c.contact_id)
        .where(members.c.watch_id == watch_id)
        .order_by(members.c.contact_id)
        .limit(page)
    )
    forgotten = await session.execute(
        delete(members).where(members.c.watch_id == watch_id, members.c.contact_id.in_(some))
    )
    if forgotten.rowcount == page:
        return False
    await session.execute(delete(segment_watches).where(segment_watches.c.id == watch_id))
    return True


async def _go_on(session: TenantSession, watch_id: UUID, **progress: object) -> None:
    await session.execute(update(segment_watches).where(segment_watches.c.id == watch_id).values(**progress))
