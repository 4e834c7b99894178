"""A chunk of an import goes in: contacts, memberships, refused rows and progress, all in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import (
    Boolean,
    LargeBinary,
    Select,
    Text,
    Uuid,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.contacts import usage
from services.contacts.announcements import announce_created, announce_updated
from services.contacts.contact_rows import read_contacts
from services.contacts.import_leases import LEASE, Lease, fence, finish
from services.contacts.import_rows import Chunk, Person, RowError
from services.contacts.imports import MOST_ROW_ERRORS
from services.contacts.sets import among, rows_of
from services.contacts.statuses import hold_statuses, status_of
from services.contacts.tables import contacts, import_row_errors, imports, lists, memberships

# Policies refuse COPY into a tenant's table.
_STAGE = text("""
    CREATE TEMPORARY TABLE import_rows (
        id uuid, email text, email_digest bytea, first_name text, last_name text
    ) ON COMMIT DROP
""")
_COPY = "COPY import_rows FROM STDIN (FORMAT BINARY)"
_COPY_TYPES = ("uuid", "text", "bytea", "text", "text")

_STAGED = table(
    "import_rows",
    column("id", Uuid),
    column("email", Text),
    column("email_digest", LargeBinary),
    column("first_name", Text),
    column("last_name", Text),
)
_RENAMED = "(old.first_name, old.last_name) IS DISTINCT FROM (new.first_name, new.last_name)"


async def store_chunk(session: TenantSession, lease: Lease, chunk: Chunk) -> None:
    """Write what was read from the lease's file, and that it was. Raises LeaseLost when somebody else has gone on."""
    chunk = await _within_limit(session, lease, chunk)
    list_id = await _hold_list(session, lease.import_id)
    failed_so_far = await fence(session, lease)
    created, updated = await _upsert(session, lease.import_id, list_id, chunk.people)
    await _keep_errors(session, lease.import_id, chunk.errors[: max(0, MOST_ROW_ERRORS - failed_so_far)])
    await session.execute(
        update(imports)
        .where(imports.c.id == lease.import_id)
        .values(
            processed_rows=imports.c.processed_rows + chunk.rows,
            created_contacts=imports.c.created_contacts + created,
            updated_contacts=imports.c.updated_contacts + updated,
            duplicate_rows=imports.c.duplicate_rows + chunk.rows - len(chunk.errors) - created - updated,
            failed_rows=imports.c.failed_rows + len(chunk.errors),
            next_offset=chunk.end.offset,
            next_line=chunk.end.line,
            inside_refused_line=chunk.end.inside_refused_line,
            lease_until=func.now() + LEASE,
            attempts=0,
        )
    )
    if chunk.finished:
        await finish(session, lease)


async def _within_limit(session: TenantSession, lease: Lease, chunk: Chunk) -> Chunk:
    """The chunk with as many new contacts as the plan has places for; whoever is one already needs none."""
    places = await usage.places_left(session, lease.contact_limit)
    if places >= len(chunk.people):
        return chunk
    digests = [person.email.digest for person in chunk.people]
    known = set(
        (
            await session.execute(
                select(contacts.c.email_digest).where(among(contacts.c.email_digest, digests))
            )
        ).scalars()
    )
    new = [person for person in chunk.people if person.email.digest not in known]
    refused = {person.line for person in new[places:]}
    errors = [
        RowError(line, "", f"The plan's limit of {lease.contact_limit:,} contacts is reached.")
        for line in sorted(refused)
    ]
    return replace(
        chunk,
        people=[person for person in chunk.people if person.line not in refused],
        errors=sorted([*chunk.errors, *errors], key=lambda error: error.line),
    )


async def _hold_list(session: TenantSession, import_id: UUID) -> UUID | None:
    """The list to join, if it still exists, kept from being deleted until the transaction ends."""
    list_id: UUID | None = await session.scalar(
        select(lists.c.id)
        .join(
            imports,
            (imports.c.organization_id == lists.c.organization_id) & (imports.c.list_id == lists.c.id),
        )
        .where(imports.c.id == import_id)
        .with_for_update(key_share=True, read=True, of=lists)
    )
    return list_id


async def _upsert(
    session: TenantSession, import_id: UUID, list_id: UUID | None, people: Sequence[Person]
) -> tuple[int, int]:
    """Create or update these people's contacts and tell of it; answers how many were created and how many updated."""
    if not people:
        return 0, 0
    await hold_statuses(session)
    await _stage(session, people)
    upserted = (await session.execute(_upsert_staged(import_id, list_id))).all()
    created = {row.id for row in upserted if row.created}
    changed = {row.id for row in upserted if row.changed}
    told = await read_contacts(session, created | changed)
    await usage.take_places(session, len(created))
    announce_created(session, (contact for contact in told if contact.id in created))
    announce_updated(session, (contact for contact in told if contact.id not in created))
    return len(created), len(upserted) - len(created)


def _upsert_staged(import_id: UUID, list_id: UUID | None) -> Select[tuple[UUID, bool, bool]]:
    new = insert(contacts).from_select(
        ["id", "email", "email_digest", "first_name", "last_name", "status", "last_import_id"],
        select(*_STAGED.c, status_of(_STAGED.c.email_digest), literal(import_id)),
    )
    # What a file leaves empty it does not know, and a status is never a file's to change.
    first_name = func.coalesce(func.nullif(new.excluded.first_name, ""), contacts.c.first_name)
    last_name = func.coalesce(func.nullif(new.excluded.last_name, ""), contacts.c.last_name)
    renamed = (contacts.c.first_name != first_name) | (contacts.c.last_name != last_name)
    upserted = (
        new.on_conflict_do_update(
            index_elements=["organization_id", "email_digest"],
            set_={
                "first_name": first_name,
                "last_name": last_name,
                "last_import_id": new.excluded.last_import_id,
                "updated_at": case((renamed, func.now()), else_=contacts.c.updated_at),
            },
            # What this import has touched already belongs to an earlier row: left out, and so not returned.
            where=contacts.c.last_import_id.is_distinct_from(new.excluded.last_import_id),
        )
        .returning(
            contacts.c.id,
            literal_column("old.id IS NULL", Boolean).label("created"),
            literal_column(_RENAMED, Boolean).label("renamed"),
        )
        .cte("upserted")
    )
    joined = (
        insert(memberships)
        .from_select(
            ["list_id", "contact_id"],
            select(literal(list_id, Uuid), upserted.c.id).where(literal(list_id, Uuid).is_not(None)),
        )
        .on_conflict_do_nothing()
        .returning(memberships.c.contact_id)
        .cte("joined")
    )
    return select(
        upserted.c.id,
        upserted.c.created,
        (upserted.c.renamed | joined.c.contact_id.is_not(None)).label("changed"),
    ).outerjoin(joined, joined.c.contact_id == upserted.c.id)


async def _stage(session: TenantSession, people: Sequence[Person]) -> None:
    await session.execute(_STAGE)
    async with session.driver.cursor().copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for person in people:
            await copy.write_row(
                (new_id(), person.email.text, person.email.digest, person.first_name, person.last_name)
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
