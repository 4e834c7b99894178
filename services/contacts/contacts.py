"""The people an organization writes to: created, read, changed and deleted one by one."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from services.contacts import lists, usage
from services.contacts.announcements import announce_created, announce_deleted, announce_updated
from services.contacts.contact_rows import SELECT_CONTACTS, Contact, read_contacts
from services.contacts.statuses import Status, carry_over, hold_statuses, status_of
from services.contacts.tables import contacts


class EmailTaken(Conflict):
    """The organization has a contact with that address."""

    def __init__(self, email: EmailAddress) -> None:
        super().__init__(f"There is a contact with the address {email.text} already.")


async def create_contact(
    session: TenantSession,
    email: EmailAddress,
    first_name: str,
    last_name: str,
    list_ids: Collection[UUID],
) -> Contact:
    """Create a contact in these lists.

    Raises EmailTaken, NotFound for a list that does not exist, ContactLimitReached when the plan has no place for another.
    """
    await usage.take_place(session)
    await hold_statuses(session)
    contact_id = await session.scalar(
        insert(contacts)
        .values(
            id=new_id(),
            email=email.text,
            email_digest=email.digest,
            first_name=first_name,
            last_name=last_name,
            status=status_of(literal(email.digest)),
        )
        .on_conflict_do_nothing(index_elements=["organization_id", "email_digest"])
        .returning(contacts.c.id)
    )
    if contact_id is None:
        raise EmailTaken(email)
    if list_ids:
        await lists.join(session, contact_id, list_ids)
    contact = await get_contact(session, contact_id)
    announce_created(session, [contact])
    return contact


async def get_contact(session: TenantSession, contact_id: UUID) -> Contact:
    """The contact. Raises NotFound."""
    for contact in await read_contacts(session, [contact_id]):
        return contact
    raise _no_such_contact(contact_id)


async def page_contacts(
    session: TenantSession,
    *,
    before: UUID | None,
    size: int,
    email: EmailAddress | None,
    status: Status | None,
) -> list[Contact]:
    """Up to `size` contacts, newest first, that are older than `before`, have this address and this status."""
    wanted = SELECT_CONTACTS.order_by(contacts.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(contacts.c.id < before)
    if email is not None:
        wanted = wanted.where(contacts.c.email_digest == email.digest)
    if status is not None:
        wanted = wanted.where(contacts.c.status == status.value)
    return [Contact(**row) for row in (await session.execute(wanted)).mappings()]


async def update_contact(
    session: TenantSession,
    contact_id: UUID,
    *,
    email: EmailAddress | None,
    first_name: str | None,
    last_name: str | None,
) -> Contact:
    """Change what is not None. Raises NotFound and EmailTaken. Who opted out stays so at another address."""
    changes: dict[str, object] = {}
    if email is not None:
        await _move_refusals(session, contact_id, email)
        changes |= {
            "email": email.text,
            "email_digest": email.digest,
            "status": status_of(literal(email.digest)),
        }
    if first_name is not None:
        changes["first_name"] = first_name
    if last_name is not None:
        changes["last_name"] = last_name
    if changes:
        await _change(session, contact_id, changes, email)
    contact = await get_contact(session, contact_id)
    if changes:
        announce_updated(session, [contact])
    return contact


async def delete_contact(session: TenantSession, contact_id: UUID) -> None:
    """Delete a contact and its memberships; why its address is suppressed stays known. Raises NotFound."""
    await usage.hold(session)
    deleted = await session.scalar(
        delete(contacts).where(contacts.c.id == contact_id).returning(contacts.c.id)
    )
    if deleted is None:
        raise _no_such_contact(contact_id)
    await usage.free_place(session)
    announce_deleted(session, contact_id)


async def _move_refusals(session: TenantSession, contact_id: UUID, email: EmailAddress) -> None:
    old_digest = await session.scalar(select(contacts.c.email_digest).where(contacts.c.id == contact_id))
    if old_digest is None:
        raise _no_such_contact(contact_id)
    await carry_over(session, old_digest, email.digest)


async def _change(
    session: TenantSession, contact_id: UUID, changes: dict[str, object], email: EmailAddress | None
) -> None:
    try:
        await session.execute(
            update(contacts).where(contacts.c.id == contact_id).values(**changes, updated_at=func.now())
        )
    except IntegrityError as error:
        if email is None:
            raise
        raise EmailTaken(email) from error


def _no_such_contact(contact_id: UUID) -> NotFound:
    return NotFound(f"contact as {contact_id}")
