"""Changes of many contacts at once: lists and tags of all who fit a rule, and what a deleted custom field leaves behind.

A change goes through the contacts by ascending id, a thousand a transaction, so it is never half done to one of them, goes on
after a crash where it was, and holds nobody up. Whom it is for is looked up as it goes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import Text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from services.contacts.announcements import announce_moved
from services.contacts.custom_fields import CustomField
from services.contacts.events import Origin, Source
from services.contacts.jobs import (
    JobStatus,
    JobWorker,
    Lease,
    Turn,
    Unworkable,
    advance,
    fence,
    finish,
    release,
)
from services.contacts.lists import hold_lists
from services.contacts.moves import Move, move_contacts
from services.contacts.references import require
from services.contacts.segments import fitting
from services.contacts.sets import among
from services.contacts.tables import bulk_changes, contacts, custom_fields
from services.contacts.tags import hold_tags

_PAGE = 1_000
_GIVEN_UP = "The change could not be carried on. Nothing that was changed before is undone."


class Action(StrEnum):
    """What is done to each contact; the target is a list, a tag, or a deleted custom field."""

    ADD_TO_LIST = "add_to_list"
    REMOVE_FROM_LIST = "remove_from_list"
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"
    FORGET_FIELD = "forget_field"


@dataclass(frozen=True, slots=True)
class BulkChange:
    """A bulk change as its owner sees it."""

    id: UUID
    status: str
    action: str
    target_id: UUID
    total_contacts: int
    processed_contacts: int
    changed_contacts: int
    failure: str
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a change is for: a rule as it is kept, or contacts by id."""

    rule: dict[str, Any] | None = None
    contact_ids: Collection[UUID] | None = None


_COLUMNS = [bulk_changes.c[name] for name in BulkChange.__dataclass_fields__]


async def create_bulk_change(
    session: TenantSession, action: Action, target_id: UUID, audience: Audience
) -> BulkChange:
    """Begin a change. Raises NotFound for a list, tag or contact that is not there."""
    await _hold_target(session, action, target_id)
    if audience.contact_ids is not None:
        await require(session, "contact", contacts, audience.contact_ids)
    created = await session.execute(
        insert(bulk_changes)
        .values(
            id=new_id(),
            status=JobStatus.PENDING.value,
            action=action.value,
            target_id=target_id,
            rule=audience.rule,
            contact_ids=None if audience.contact_ids is None else sorted(audience.contact_ids),
            total_contacts=await _count(session, audience),
        )
        .returning(*_COLUMNS)
    )
    return BulkChange(**created.mappings().one())


async def forget_field(session: TenantSession, field: CustomField) -> None:
    """Begin to take a deleted field's values from all contacts."""
    await session.execute(
        insert(bulk_changes).values(
            id=new_id(),
            status=JobStatus.PENDING.value,
            action=Action.FORGET_FIELD.value,
            target_id=field.id,
            total_contacts=select(func.count())
            .select_from(contacts)
            .where(_has_value(field.number))
            .scalar_subquery(),
        )
    )


async def get_bulk_change(session: TenantSession, bulk_change_id: UUID) -> BulkChange:
    """The change. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(bulk_changes.c.id == bulk_change_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"bulk change as {bulk_change_id}")
    return BulkChange(**row)


async def page_bulk_changes(session: TenantSession, *, before: UUID | None, size: int) -> list[BulkChange]:
    """Up to `size` changes, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(bulk_changes.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(bulk_changes.c.id < before)
    return [BulkChange(**row) for row in (await session.execute(wanted)).mappings()]


def bulk_change_worker(database: Database, scheduler: RoleDatabase, *, page: int = _PAGE) -> JobWorker:
    """What carries bulk changes out, `page` contacts a transaction."""

    async def work(context: RequestContext, lease: Lease, _: Row[Any]) -> None:
        turn, finished = Turn(), False
        while not finished and not turn.over:
            async with database.tenant_transaction(context) as session:
                finished = await _change_page(session, lease, page)
        if not finished:
            async with database.tenant_transaction(context) as session:
                await release(session, lease)

    async def give_up(session: TenantSession, lease: Lease, failure: str) -> None:
        await finish(session, lease, failure=failure)

    return JobWorker(database, scheduler, bulk_changes, work, give_up, gave_up=_GIVEN_UP)


async def _change_page(session: TenantSession, lease: Lease, page: int) -> bool:
    """Change the next contacts; whether those were the last. Raises LeaseLost, and Unworkable when the target is gone."""
    job = await fence(session, lease)
    action = Action(job.action)
    wanted = select(contacts.c.id).where(await _meant(session, job)).order_by(contacts.c.id).limit(page)
    if job.after_contact_id is not None:
        wanted = wanted.where(contacts.c.id > job.after_contact_id)
    # Held, so that none of them is deleted before it has joined.
    ids = list((await session.execute(wanted.with_for_update(key_share=True, read=True))).scalars())
    changed = await _act(session, action, job, ids)
    if action is not Action.FORGET_FIELD:
        await announce_moved(session, changed)
    await advance(
        session,
        lease,
        after_contact_id=ids[-1] if ids else job.after_contact_id,
        processed_contacts=job.processed_contacts + len(ids),
        changed_contacts=job.changed_contacts + len(changed),
    )
    finished = len(ids) < page
    if finished:
        await finish(session, lease)
    return finished


async def _act(session: TenantSession, action: Action, job: Row[Any], ids: Sequence[UUID]) -> set[UUID]:
    """Change these contacts; answers which of them were not so before."""
    origin = Origin(Source.BULK_CHANGE, job.id)
    if action is Action.FORGET_FIELD:
        return await _forget(session, job.target_id, ids)
    try:
        await _hold_target(session, action, job.target_id)
    except NotFound as gone:
        raise Unworkable(gone.message) from None
    return await move_contacts(session, Move(action.value), job.target_id, ids, origin)


async def _hold_target(session: TenantSession, action: Action, target_id: UUID) -> None:
    if action in (Action.ADD_TO_LIST, Action.REMOVE_FROM_LIST):
        await hold_lists(session, [target_id])
    else:
        await hold_tags(session, [target_id])


async def _forget(session: TenantSession, field_id: UUID, ids: Sequence[UUID]) -> set[UUID]:
    number = await _number_of(session, field_id)
    forgotten = await session.execute(
        update(contacts)
        .where(among(contacts.c.id, ids))
        .values(custom_fields=contacts.c.custom_fields.op("-")(literal(str(number), Text)))
        .returning(contacts.c.id)
    )
    return set(forgotten.scalars())


async def _meant(session: TenantSession, job: Row[Any]) -> ColumnElement[bool]:
    if job.action == Action.FORGET_FIELD.value:
        return _has_value(await _number_of(session, job.target_id))
    if job.contact_ids is not None:
        return among(contacts.c.id, job.contact_ids)
    return await fitting(session, job.rule)


async def _count(session: TenantSession, audience: Audience) -> int:
    if audience.rule is None:
        return len(audience.contact_ids or ())
    fits = await fitting(session, audience.rule)
    return int(await session.scalar(select(func.count()).select_from(contacts).where(fits)))


async def _number_of(session: TenantSession, field_id: UUID) -> int:
    return int(await session.scalar(select(custom_fields.c.number).where(custom_fields.c.id == field_id)))


def _has_value(number: int) -> ColumnElement[bool]:
    has_value: ColumnElement[bool] = contacts.c.custom_fields.has_key(str(number))
    return has_value
