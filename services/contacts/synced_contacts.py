"""Contacts that are kept in step with another system: written one by one, each with what became of it, and read as they are.

Whoever writes says at which version it has read a contact, so that nothing is written over what has been changed meanwhile. A version is
`updated_at` in microseconds.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Row, Select, cast, extract, or_, select

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.email_address import EmailAddress
from services.contacts import usage
from services.contacts.contact_rows import values_of
from services.contacts.contacts import Changes, update_contact
from services.contacts.custom_fields import read_fields
from services.contacts.events import Origin
from services.contacts.sets import among
from services.contacts.statuses import hold_statuses, hold_statuses_alone
from services.contacts.tables import contacts
from services.contacts.upserts import Upsert, upsert


class Result(Enum):
    """What became of one of them."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STALE = "stale"
    GONE = "gone"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Write:
    """What is to be known of a contact, by id, or of whoever has the address. None leaves what there is."""

    contact_id: UUID | None
    email: EmailAddress | None
    first_name: str | None = None
    last_name: str | None = None
    time_zone: str | None = None
    # Of custom fields, by their numbers; None takes a value away.
    values: Mapping[str, object | None] = field(default_factory=dict)
    expected_version: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a contact, and its version from now on."""

    result: Result
    contact_id: UUID | None = None
    version: int = 0
    message: str = ""


_VERSION: ColumnElement[int] = cast(extract("epoch", contacts.c.updated_at) * 1_000_000, BigInteger).label(
    "version"
)
_READ = (
    contacts.c.id,
    contacts.c.email,
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.time_zone,
    contacts.c.status,
    _VERSION,
)


async def write(session: TenantSession, writes: Sequence[Write], origin: Origin) -> list[Outcome]:
    """Write contacts, each once among them; answers what became of each, in their order."""
    places = await usage.places_left(session, session.context.limit("contacts"))
    await (hold_statuses_alone if any(map(_may_move, writes)) else hold_statuses)(session)
    known = await _Known.of(session, writes)
    outcomes: dict[int, Outcome] = {}
    to_write: list[tuple[int, Upsert]] = []
    met: set[UUID] = set()
    for place, each in enumerate(writes):
        contact = known.contact(each)
        if outcome := _refusal(each, contact, known, places):
            outcomes[place] = outcome
        elif contact is None:
            places -= 1
            to_write.append((place, _upsert(each, contact)))
        elif contact.id in met:
            # One by id, the other by an address that it had until now.
            outcomes[place] = Outcome(Result.STALE, contact.id, contact.version)
        else:
            met.add(contact.id)
            if _moves(each, contact):
                await update_contact(session, contact.id, Changes(email=each.email))
            to_write.append((place, _upsert(each, contact)))
    return await _written(session, to_write, known, outcomes, origin)


@dataclass(frozen=True, slots=True)
class _Known:
    """Contacts as they were before, held until the transaction ends."""

    by_id: Mapping[UUID, Row[Any]]
    by_digest: Mapping[bytes, Row[Any]]

    @classmethod
    async def of(cls, session: TenantSession, writes: Sequence[Write]) -> "_Known":
        """Those that are written to, and those who have an address that is given to another."""
        wanted = or_(
            among(contacts.c.id, [each.contact_id for each in writes if each.contact_id]),
            among(contacts.c.email_digest, [each.email.digest for each in writes if each.email]),
        )
        held = select(contacts.c.id, contacts.c.email, contacts.c.email_digest, _VERSION).where(wanted)
        rows = (await session.execute(held.order_by(contacts.c.id).with_for_update())).all()
        return cls({row.id: row for row in rows}, {bytes(row.email_digest): row for row in rows})

    def contact(self, each: Write) -> Row[Any] | None:
        """Whom it is about; None for who is to be created, or is not there."""
        if each.contact_id is not None:
            return self.by_id.get(each.contact_id)
        return self.by_digest.get(each.email.digest) if each.email else None

    def has_another(self, contact: Row[Any], email: EmailAddress) -> bool:
        """Whether somebody else has the address."""
        holder = self.by_digest.get(email.digest)
        return holder is not None and holder.id != contact.id


def _may_move(each: Write) -> bool:
    return each.contact_id is not None and each.email is not None


def _moves(each: Write, contact: Row[Any]) -> bool:
    return _may_move(each) and each.email is not None and each.email.text != contact.email


def _refusal(each: Write, contact: Row[Any] | None, known: _Known, places: int) -> Outcome | None:
    """Why nothing is written, if nothing is."""
    if contact is None and each.contact_id is not None:
        return Outcome(Result.GONE)
    if contact is None:
        return (
            None
            if places > 0
            else Outcome(Result.REFUSED, message="The plan has no place for more contacts.")
        )
    if each.expected_version and each.expected_version != contact.version:
        return Outcome(Result.STALE, contact.id, contact.version)
    if each.email is not None and known.has_another(contact, each.email):
        return Outcome(Result.REFUSED, contact.id, contact.version, "Another contact has that address.")
    return None


def _upsert(each: Write, contact: Row[Any] | None) -> Upsert:
    email = each.email or EmailAddress.parse(contact.email)  # type: ignore[union-attr]  # who is new has one
    return Upsert(email, each.first_name, each.last_name, each.time_zone, each.values)


async def _written(
    session: TenantSession,
    to_write: Sequence[tuple[int, Upsert]],
    known: _Known,
    outcomes: dict[int, Outcome],
    origin: Origin,
) -> list[Outcome]:
    if to_write:
        upserted = await upsert(session, [person for _, person in to_write], origin)
        versions = await _versions(session, [each.contact_id for each in upserted])
        for (place, _), each in zip(to_write, upserted, strict=True):
            version = versions[each.contact_id]
            if each.created:
                result = Result.CREATED
            else:
                result = (
                    Result.UNCHANGED if known.by_id[each.contact_id].version == version else Result.CHANGED
                )
            outcomes[place] = Outcome(result, each.contact_id, version)
    return [outcomes[place] for place in sorted(outcomes)]


async def _versions(session: TenantSession, ids: Sequence[UUID]) -> dict[UUID, int]:
    found = await session.execute(select(contacts.c.id, _VERSION).where(among(contacts.c.id, ids)))
    return {row.id: row.version for row in found}


async def read(
    session: TenantSession, keys: Sequence[UUID | EmailAddress], custom_fields: Sequence[str]
) -> dict[int, Row[Any]]:
    """Contacts by id or address, as they are, by their place among the keys; those that are not there are left out."""
    ids = {key: place for place, key in enumerate(keys) if isinstance(key, UUID)}
    digests = {key.digest: place for place, key in enumerate(keys) if isinstance(key, EmailAddress)}
    wanted = await _reading(session, custom_fields)
    found = await session.execute(
        wanted.add_columns(contacts.c.email_digest).where(
            or_(among(contacts.c.id, list(ids)), among(contacts.c.email_digest, list(digests)))
        )
    )
    places: dict[int, Row[Any]] = {}
    for row in found:
        for place in (ids.get(row.id), digests.get(bytes(row.email_digest))):
            if place is not None:
                places[place] = row
    return places


async def stream(
    database: Database,
    context: RequestContext,
    custom_fields: Sequence[str],
    *,
    after: UUID | None,
    size: int,
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Batches of all contacts by ascending id, behind `after`, none of them empty.

    Each batch is a transaction of its own, and the next one is read while this one is written.
    """

    async def page(behind: UUID | None) -> Sequence[Row[Any]]:
        async with database.tenant_transaction(context, read_only=True) as session:
            wanted = (await _reading(session, custom_fields)).order_by(contacts.c.id).limit(size)
            if behind is not None:
                wanted = wanted.where(contacts.c.id > behind)
            return (await session.execute(wanted)).all()

    batch = await page(after)
    while batch:
        ahead = asyncio.create_task(page(batch[-1].id)) if len(batch) == size else None
        try:
            yield batch
            batch = await ahead if ahead is not None else ()
        finally:
            if ahead is not None and not ahead.done():
                ahead.cancel()
                with suppress(asyncio.CancelledError):
                    await ahead


async def _reading(session: TenantSession, custom_fields: Sequence[str]) -> Select[Any]:
    values = [values_of(await read_fields(session), custom_fields)] if custom_fields else []
    return select(*_READ, *values)


def each_once(writes: Iterable[Write]) -> bool:
    """Whether no contact is among them twice, by what can be told of them."""
    ids, digests = [], []
    for each in writes:
        if each.contact_id is not None:
            ids.append(each.contact_id)
        if each.email is not None:
            digests.append(each.email.digest)
    return len(set(ids)) == len(ids) and len(set(digests)) == len(digests)
