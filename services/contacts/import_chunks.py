"""A chunk of an import goes in: contacts, lists, tags, refused rows and progress, all in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Row, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from flownurture.contacts.v1 import contacts_pb2
from services.contacts import usage
from services.contacts.announcements import announce_import
from services.contacts.contact_messages import new_contact
from services.contacts.events import Origin, Source
from services.contacts.import_rows import Chunk, Person, RowError
from services.contacts.imports import MOST_ROW_ERRORS, end_import
from services.contacts.jobs import Lease, advance, fence
from services.contacts.sets import among, rows_of
from services.contacts.statuses import Status, hold_statuses
from services.contacts.tables import contacts, import_addresses, import_row_errors, lists
from services.contacts.tags import tag_contacts, tags_named
from services.contacts.upserts import Effect, announce_upserted, upsert_statement

# Policies refuse COPY into a tenant's table.
_STAGE = text("""
    CREATE TEMPORARY TABLE import_rows (
        id uuid, email text, email_digest bytea, first_name text, last_name text, time_zone text,
        custom text
    ) ON COMMIT DROP
""")
_COPY = "COPY import_rows FROM STDIN (FORMAT BINARY)"
_COPY_TYPES = ("uuid", "text", "bytea", "text", "text", "text", "text")
_UPSERT = upsert_statement("import_rows AS given")


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a chunk's people."""

    created: int
    updated: int


async def store_chunk(session: TenantSession, lease: Lease, chunk: Chunk) -> None:
    """Write what was read from the lease's file, and that it was. Raises LeaseLost when somebody else has gone on."""
    job = await fence(session, lease)
    chunk = await _within_limit(session, job, chunk)
    written = await (_rehearse if job.dry_run else _write)(session, job, chunk.people)
    await _keep_errors(session, job.id, chunk.errors[: max(0, MOST_ROW_ERRORS - job.failed_rows)])
    progress = {
        "processed_rows": job.processed_rows + chunk.rows,
        "created_contacts": job.created_contacts + written.created,
        "updated_contacts": job.updated_contacts + written.updated,
        "failed_rows": job.failed_rows + len(chunk.errors),
    }
    repeated = chunk.rows - len(chunk.errors) - written.created - written.updated
    await advance(
        session,
        lease,
        **progress,
        duplicate_rows=job.duplicate_rows + repeated,
        next_offset=chunk.end.offset,
        next_line=chunk.end.line,
        inside_refused_line=chunk.end.inside_refused_line,
    )
    if chunk.finished:
        await end_import(session, lease)
        if not job.dry_run:
            announce_import(
                session,
                job.id,
                progress["created_contacts"],
                progress["updated_contacts"],
                progress["failed_rows"],
            )


async def _within_limit(session: TenantSession, job: Row[Any], chunk: Chunk) -> Chunk:
    """The chunk with as many new contacts as the plan has places for; whoever is one already needs none."""
    places = await usage.places_left(session, job.contact_limit)
    if job.dry_run:
        places = max(0, places - job.created_contacts)
    if places >= len(chunk.people):
        return chunk
    known = await _known(session, [person.email.digest for person in chunk.people])
    new = [person for person in chunk.people if person.email.digest not in known]
    refused = {person.line for person in new[places:]}
    errors = [
        RowError(line, "", f"The plan's limit of {job.contact_limit:,} contacts is reached.")
        for line in sorted(refused)
    ]
    return replace(
        chunk,
        people=[person for person in chunk.people if person.line not in refused],
        errors=sorted([*chunk.errors, *errors], key=lambda error: error.line),
    )


async def _known(session: TenantSession, digests: Sequence[bytes]) -> set[bytes]:
    found = await session.execute(
        select(contacts.c.email_digest).where(among(contacts.c.email_digest, digests))
    )
    return {bytes(digest) for digest in found.scalars()}


async def _write(session: TenantSession, job: Row[Any], people: Sequence[Person]) -> Written:
    """Create or update these people's contacts, and tell of it."""
    if not people:
        return Written(0, 0)
    origin = Origin(Source.IMPORT, job.id)
    list_id = await _list_to_join(session, job.list_id)
    tag_ids = await tags_named(session, {*job.tags, *(tag for person in people for tag in person.tags)})
    await hold_statuses(session)
    await _stage(session, people)
    now = datetime.now(UTC)
    told = await session.execute(
        _UPSERT,
        {
            "source": origin.source.value,
            "source_id": origin.id,
            "moment": now,
            "import_id": job.id,
            "only_new": job.only_new,
            "list_id": list_id,
            "terse": True,
        },
    )
    special = {row.email_digest: row for row in told}
    # Of whom nothing is told: most of them, in most files.
    plain = [person for person in people if person.email.digest not in special]
    met = [row for row in special.values() if not row.seen]
    created = {person.id for person in plain} | {row.contact_id for row in met if row.created}
    ids = {person.email.digest: person.id for person in plain}
    ids |= {row.email_digest: row.contact_id for row in met}
    tagged = await tag_contacts(session, _taggings(people, job.tags, tag_ids, ids), origin)
    await usage.take_places(session, len(created))
    in_list = [person.id for person in plain] + [row.contact_id for row in met if row.joined]
    effect = Effect(
        created,
        {row.contact_id: row.changed_fields for row in met if row.changed},
        [(contact_id, list_id) for contact_id in in_list] if list_id else [],
        tagged,
        {} if job.tags else _as_the_file_says(plain, list_id, now),
    )
    await announce_upserted(session, effect, origin)
    return Written(len(created), len(ids) - len(created))


def _as_the_file_says(
    plain: Sequence[Person], list_id: UUID | None, now: datetime
) -> dict[UUID, contacts_pb2.Contact]:
    """The new contacts of whom there is nothing but what the file said, so that they need not be read."""
    list_ids, created_at = [str(list_id)] if list_id else [], Timestamp()
    created_at.FromDatetime(now)
    return {
        person.id: new_contact(
            str(person.id),
            person.email.text,
            first_name=person.first_name or "",
            last_name=person.last_name or "",
            time_zone=person.time_zone or "",
            status=Status.SUBSCRIBED.value,
            created_at=created_at,
            list_ids=list_ids,
        )
        for person in plain
        if not (person.values or person.tags)
    }


async def _rehearse(session: TenantSession, job: Row[Any], people: Sequence[Person]) -> Written:
    """Note which addresses were met, and count what would become of them."""
    met = await session.execute(
        insert(import_addresses)
        .from_select(
            ["import_id", "email_digest"],
            select(
                literal(job.id),
                rows_of(
                    "given",
                    email_digest=(
                        import_addresses.c.email_digest,
                        sorted(person.email.digest for person in people),
                    ),
                ).c.email_digest,
            ),
        )
        .on_conflict_do_nothing()
        .returning(import_addresses.c.email_digest)
    )
    fresh = [bytes(digest) for digest in met.scalars()]
    known = await _known(session, fresh)
    return Written(len(fresh) - len(known), len(known))


async def _list_to_join(session: TenantSession, list_id: UUID | None) -> UUID | None:
    """The list, if there is one and it still exists, kept from being deleted until the transaction ends."""
    if list_id is None:
        return None
    held = select(lists.c.id).where(lists.c.id == list_id).with_for_update(key_share=True, read=True)
    found: UUID | None = await session.scalar(held)
    return found


def _taggings(
    people: Sequence[Person],
    tags_of_all: Collection[str],
    tag_ids: Mapping[str, UUID],
    ids: Mapping[bytes, UUID],
) -> list[tuple[UUID, UUID]]:
    """Pairs of contact and tag, for those who were not an earlier row's."""
    if not tag_ids:
        return []
    return [
        (ids[person.email.digest], tag_ids[tag])
        for person in people
        if person.email.digest in ids
        for tag in (*tags_of_all, *person.tags)
    ]


async def _stage(session: TenantSession, people: Sequence[Person]) -> None:
    await session.execute(_STAGE)
    async with session.driver.cursor().copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for person in people:
            await copy.write_row(
                (
                    person.id,
                    person.email.text,
                    person.email.digest,
                    person.first_name,
                    person.last_name,
                    person.time_zone,
                    orjson.dumps(person.values).decode() if person.values else "{}",
                )
            )


async def _keep_errors(session: TenantSession, import_id: UUID, errors: Sequence[RowError]) -> None:
    if not errors:
        return
    held = import_row_errors
    given = rows_of(
        "given",
        line=(held.c.line, [error.line for error in errors]),
        field=(held.c.field, [error.field for error in errors]),
        message=(held.c.message, [error.message for error in errors]),
    )
    await session.execute(
        insert(held).from_select(
            ["import_id", "line", "field", "message"],
            select(literal(import_id), given.c.line, given.c.field, given.c.message),
        )
    )
