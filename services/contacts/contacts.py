"""The people an organization writes to: created, read, changed and erased one by one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Text, delete, exists, func, literal, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import IntegrityError

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, NotFound
from services.contacts import usage
from services.contacts.announcements import (
    announce_address_changed,
    announce_deleted,
    announce_tag_added,
    announce_updated,
)
from services.contacts.changed_fields import CHANGED_FIELDS
from services.contacts.contact_rows import Contact, read_contacts
from services.contacts.events import BY_API
from services.contacts.list_choices import carry_refusals_over
from services.contacts.statuses import carry_over, status_of
from services.contacts.tables import (
    consent_addresses,
    contacts,
    engagements,
    form_submissions,
)
from services.contacts.tags import tag_contacts, tags_named, untag_by_name
from services.contacts.upserts import Upsert, upsert


class EmailTaken(Conflict):
    """The organization has a contact with that address."""

    def __init__(self, email: EmailAddress) -> None:
        super().__init__(f"There is a contact with the address {email.text} already.")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different of a contact; what is None or empty stays."""

    email: EmailAddress | None = None
    first_name: str | None = None
    last_name: str | None = None
    time_zone: str | None = None
    # Of custom fields, by their numbers; None takes a value away.
    values: Mapping[str, object | None] = field(default_factory=dict)
    add_tags: Collection[str] = ()
    remove_tags: Collection[str] = ()


async def create_contact(session: TenantSession, person: Upsert) -> Contact:
    """Create a contact.

    Raises EmailTaken, NotFound for a list that does not exist, ContactLimitReached when the plan has no place for another.
    """
    # Whoever adds a contact holds the count, so nobody does between this look and the next.
    await usage.hold(session)
    if await session.scalar(select(exists().where(contacts.c.email_digest == person.email.digest))):
        raise EmailTaken(person.email)
    (created,) = await upsert(session, [person], BY_API)
    return await get_contact(session, created.contact_id)


async def get_contact(session: TenantSession, contact_id: UUID) -> Contact:
    """The contact. Raises NotFound."""
    for contact in await read_contacts(session, [contact_id]):
        return contact
    raise _no_such_contact(contact_id)


async def require_contact(session: TenantSession, contact_id: UUID) -> None:
    """Raises NotFound when there is no such contact."""
    if not await session.scalar(select(exists().where(contacts.c.id == contact_id))):
        raise _no_such_contact(contact_id)


async def update_contact(session: TenantSession, contact_id: UUID, changes: Changes) -> Contact:
    """Change a contact. Raises NotFound and EmailTaken. Who opted out stays so at another address."""
    values: dict[str, object] = {}
    if changes.email is not None:
        await _move_refusals(session, contact_id, changes.email)
        values |= {
            "email": changes.email.text,
            "email_digest": changes.email.digest,
            "status": status_of(literal(changes.email.digest)),
        }
    if changes.first_name is not None:
        values["first_name"] = changes.first_name
    if changes.last_name is not None:
        values["last_name"] = changes.last_name
    if changes.time_zone is not None:
        values["time_zone"] = changes.time_zone
    if changes.values:
        merged = contacts.c.custom_fields.concat(literal(dict(changes.values), JSONB))
        values["custom_fields"] = func.jsonb_strip_nulls(merged)
    changed: Sequence[str] = ()
    if values:
        changed = await _change(session, contact_id, values, changes.email)
    else:
        await require_contact(session, contact_id)
    await _retag(session, contact_id, changes)
    contact = await get_contact(session, contact_id)
    if values or changes.add_tags or changes.remove_tags:
        announce_updated(session, [contact], {contact_id: changed})
    return contact


async def delete_contact(session: TenantSession, contact_id: UUID) -> None:
    """Erase a contact: whatever tells who it was goes, but why its address is suppressed stays known. Raises NotFound."""
    await usage.hold(session)
    digest = await session.scalar(
        delete(contacts).where(contacts.c.id == contact_id).returning(contacts.c.email_digest)
    )
    if digest is None:
        raise _no_such_contact(contact_id)
    await usage.free_place(session)
    for table in (consent_addresses, engagements):
        await session.execute(delete(table).where(table.c.contact_id == contact_id))
    await session.execute(
        delete(form_submissions).where(
            or_(form_submissions.c.contact_id == contact_id, form_submissions.c.email_digest == digest)
        )
    )
    announce_deleted(session, contact_id, bytes(digest))


async def _move_refusals(session: TenantSession, contact_id: UUID, email: EmailAddress) -> None:
    old_digest = await session.scalar(select(contacts.c.email_digest).where(contacts.c.id == contact_id))
    if old_digest is None:
        raise _no_such_contact(contact_id)
    if bytes(old_digest) != email.digest:
        await carry_over(session, old_digest, email.digest)
        await carry_refusals_over(session, contact_id, old_digest, email.digest)
        announce_address_changed(session, contact_id, bytes(old_digest), email.digest)


async def _retag(session: TenantSession, contact_id: UUID, changes: Changes) -> None:
    ids = await tags_named(session, changes.add_tags)
    tagged = await tag_contacts(session, [(contact_id, tag_id) for tag_id in set(ids.values())], BY_API)
    announce_tag_added(session, tagged, BY_API.source)
    if changes.remove_tags:
        await untag_by_name(session, contact_id, changes.remove_tags, BY_API)


async def _change(
    session: TenantSession, contact_id: UUID, values: dict[str, object], email: EmailAddress | None
) -> Sequence[str]:
    """Write it; answers which fields have another value by it."""
    try:
        changed: Sequence[str] | None = await session.scalar(
            update(contacts)
            .where(contacts.c.id == contact_id)
            .values(**values, updated_at=func.now())
            .returning(literal_column(CHANGED_FIELDS, ARRAY(Text)))
        )
    except IntegrityError as error:
        if email is None:
            raise
        raise EmailTaken(email) from error
    if changed is None:
        raise _no_such_contact(contact_id)
    return changed


def _no_such_contact(contact_id: UUID) -> NotFound:
    return NotFound(f"contact as {contact_id}")
