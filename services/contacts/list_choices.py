"""Which public lists a person wants, by their own word: what they leave, nobody but them puts them back into.

A refusal is kept by the digest of the address, so it outlives the contact, and follows it to another address. It is written while
nobody gives a contact an address and the contact is held, so no membership is made by who has not seen it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, exists, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from services.contacts.announcements import announce_joined, announce_moved
from services.contacts.events import BY_PREFERENCES, Origin, Source
from services.contacts.lists import join, leave
from services.contacts.sets import among
from services.contacts.statuses import hold_statuses_alone
from services.contacts.tables import contacts, list_refusals, lists

# As many as a page shows; the contract says so, too.
MOST_CHOICES = 40


@dataclass(frozen=True, slots=True)
class ListChoice:
    """A list that a person may be in or not, as they like, and whether they are."""

    list_id: UUID
    name: str
    description: str
    chosen: bool


_CHOICES = text("""
    SELECT list.id AS list_id, list.name, list.description, membership.contact_id IS NOT NULL AS chosen
    FROM contacts AS contact CROSS JOIN lists AS list
    LEFT JOIN memberships AS membership ON membership.list_id = list.id AND membership.contact_id = contact.id
    WHERE contact.email_digest = :digest AND list.is_public AND (
        membership.contact_id IS NOT NULL
        OR EXISTS (SELECT FROM list_refusals WHERE email_digest = :digest AND list_id = list.id)
        OR EXISTS (
            SELECT FROM contact_events
            WHERE contact_id = contact.id AND type = 'list_joined' AND about_id = list.id
        )
    )
    ORDER BY list.name, list.id LIMIT :most
""")
# Held, so that none of them is deleted before it is refused.
_REFUSE = text("""
    INSERT INTO list_refusals (email_digest, list_id)
    SELECT :digest, id FROM lists WHERE id = ANY(:list_ids) AND is_public ORDER BY id FOR KEY SHARE
    ON CONFLICT DO NOTHING
""")


async def choices_of(session: TenantSession, digest: bytes) -> list[ListChoice]:
    """The public lists that whoever has the address is in, or has been, by name."""
    found = await session.execute(_CHOICES, {"digest": digest, "most": MOST_CHOICES})
    return [ListChoice(**row) for row in found.mappings()]


async def choose(
    session: TenantSession, digest: bytes, *, offered: Collection[UUID], chosen: Collection[UUID]
) -> None:
    """Leave what was offered and is not chosen, and join again what is, as far as it is the person's to choose."""
    await hold_statuses_alone(session)
    contact_id = await session.scalar(
        select(contacts.c.id).where(contacts.c.email_digest == digest).with_for_update()
    )
    wanted = {each.list_id for each in await choices_of(session, digest)}.intersection(offered, chosen)
    unwanted = set(offered) - set(chosen)
    await session.execute(_REFUSE, {"digest": digest, "list_ids": list(unwanted)})
    await forget_refusals(session, digest, wanted)
    if contact_id is None:
        return
    left = await leave(session, [contact_id], await _public(session, unwanted), BY_PREFERENCES)
    held = await _public(session, wanted)
    joined = await join(session, [(contact_id, list_id) for list_id in held], BY_PREFERENCES)
    await announce_moved(session, left | {contact_id for contact_id, _ in joined})
    announce_joined(session, joined, BY_PREFERENCES.source)


async def refuses_any(session: TenantSession, digest: bytes, list_ids: Collection[UUID]) -> bool:
    """Whether whoever has the address has left one of these lists by their own choice."""
    refused = exists().where(list_refusals.c.email_digest == digest, among(list_refusals.c.list_id, list_ids))
    return bool(await session.scalar(select(refused)))


async def forget_refusals(session: TenantSession, digest: bytes, list_ids: Collection[UUID]) -> None:
    """Let a person back into these lists, who has just said that they want to be."""
    await session.execute(
        delete(list_refusals).where(
            list_refusals.c.email_digest == digest, among(list_refusals.c.list_id, list_ids)
        )
    )


async def carry_refusals_over(
    session: TenantSession, contact_id: UUID, old_digest: bytes, new_digest: bytes
) -> None:
    """Let what a person has left stay left at another address, and have them leave what was left there."""
    held = list_refusals
    await session.execute(
        insert(held)
        .from_select(
            ["email_digest", "list_id", "refused_at"],
            select(literal(new_digest), held.c.list_id, held.c.refused_at).where(
                held.c.email_digest == old_digest
            ),
        )
        .on_conflict_do_nothing()
    )
    there = await session.execute(select(held.c.list_id).where(held.c.email_digest == new_digest))
    await leave(session, [contact_id], list(there.scalars()), Origin(Source.ADDRESS_CHANGE))


async def _public(session: TenantSession, list_ids: Collection[UUID]) -> list[UUID]:
    """Those of the lists that are public; none is deleted until the transaction ends."""
    found = await session.execute(
        select(lists.c.id)
        .where(among(lists.c.id, list_ids), lists.c.is_public)
        .order_by(lists.c.id)
        .with_for_update(key_share=True, read=True)
    )
    return list(found.scalars())
