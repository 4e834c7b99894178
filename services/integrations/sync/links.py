"""Links: which contact of ours is which record of a CRM, and what both last agreed upon.

A link outlives the contact that is erased here: its record is then left alone, so that no edit in the CRM brings the person back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import any_, literal, update
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.database import TenantSession
from services.integrations.sync.merging import Agreement
from services.integrations.tables import links


@dataclass(frozen=True, slots=True)
class Link:
    """A contact and a record that are the same person's."""

    contact_id: UUID
    record_id: str
    agreement: Agreement
    # The contact was erased, or the record was: neither side tells the other of it any more.
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Links:
    """Those of a connection that are asked for."""

    by_contact: Mapping[UUID, Link]
    by_record: Mapping[str, Link]


async def links_of(
    session: TenantSession,
    connection_id: UUID,
    *,
    contacts: Collection[UUID] = (),
    records: Collection[str] = (),
) -> Links:
    """The links of these contacts and records."""
    known = [
        *await _found(session, _OF_CONTACTS, connection_id, contacts),
        *await _found(session, _OF_RECORDS, connection_id, records),
    ]
    return Links({link.contact_id: link for link in known}, {link.record_id: link for link in known})


async def linked_among(session: TenantSession, connection_id: UUID, contacts: Sequence[UUID]) -> set[UUID]:
    """Which of these contacts have a link, be it cut."""
    found = await session.driver.execute(_LINKED, (contacts, connection_id))
    return {contact_id for (contact_id,) in await found.fetchall()}


# Each by itself in the index: of a set PostgreSQL would rather read all of the connection, as long as it takes it for a small one. For the
# same reason contacts are looked up by no index that begins with the connection: IS NOT DISTINCT FROM uses none.
_OF_CONTACTS, _OF_RECORDS = (
    f"""
    SELECT link.contact_id, link.record_id, link.fingerprints, link.crm_opted_out, link.is_cut
    FROM unnest(%s::{kind}[]) AS wanted (id), LATERAL (
        SELECT * FROM links WHERE links.connection_id {of} %s AND links.{column} = wanted.id LIMIT 1
    ) AS link
    """  # noqa: S608 - of our own names alone
    for column, kind, of in (("contact_id", "uuid", "IS NOT DISTINCT FROM"), ("record_id", "text", "="))
)


_LINKED = """
    SELECT link.contact_id FROM unnest(%s::uuid[]) AS wanted (id), LATERAL (
        SELECT contact_id FROM links
        WHERE links.connection_id IS NOT DISTINCT FROM %s AND links.contact_id = wanted.id LIMIT 1
    ) AS link
"""


async def _found(
    session: TenantSession, statement: str, connection_id: UUID, ids: Collection[UUID | str]
) -> list[Link]:
    if not ids:
        return []
    found = await session.driver.execute(statement, (list(ids), connection_id))
    return [
        Link(contact_id, record_id, Agreement(fingerprints, crm_opted_out), is_cut)
        for contact_id, record_id, fingerprints, crm_opted_out, is_cut in await found.fetchall()
    ]


async def keep(session: TenantSession, connection_id: UUID, agreed: Sequence[Link]) -> None:
    """Note what was agreed upon, of links that are there and of new ones.

    A record that is another contact's by now is that contact's: who was linked to it before is linked to nothing.
    """
    if not agreed:
        return
    told = [
        {
            "contact_id": link.contact_id,
            "record_id": link.record_id,
            "fingerprints": link.agreement.fingerprints,
            "crm_opted_out": link.agreement.crm_opted_out,
            "is_cut": link.is_cut,
        }
        for link in agreed
    ]
    await session.driver.execute(_KEEP, {"connection_id": connection_id, "told": orjson.dumps(told).decode()})


_KEEP = """
    WITH given AS (
        SELECT %(connection_id)s::uuid AS connection_id, told.* FROM jsonb_to_recordset(%(told)s::jsonb)
            AS told (contact_id uuid, record_id text, fingerprints jsonb, crm_opted_out boolean, is_cut boolean)
    ), parted AS (
        DELETE FROM links WHERE ctid = ANY(ARRAY(
            SELECT held.place FROM given, LATERAL (
                SELECT ctid AS place, contact_id FROM links
                WHERE links.connection_id = given.connection_id AND links.record_id = given.record_id LIMIT 1 FOR UPDATE
            ) AS held WHERE held.contact_id <> given.contact_id
        ))
    )
    INSERT INTO links (connection_id, contact_id, record_id, fingerprints, crm_opted_out, is_cut)
    SELECT connection_id, contact_id, record_id, fingerprints, crm_opted_out, is_cut FROM given
    ON CONFLICT (organization_id, connection_id, contact_id) DO UPDATE SET
        record_id = excluded.record_id, fingerprints = excluded.fingerprints,
        crm_opted_out = excluded.crm_opted_out, is_cut = excluded.is_cut
"""


async def cut_links(session: TenantSession, connection_id: UUID, gone: Sequence[Link]) -> None:
    """Records are gone from the CRM: their contacts stay as they are, and are not put there again."""
    if gone:
        among = links.c.contact_id == any_(
            literal([link.contact_id for link in gone], ARRAY(links.c.contact_id.type))
        )
        await session.execute(
            update(links)
            .where(links.c.connection_id == connection_id, among)
            .values(is_cut=True, fingerprints={})
        )


async def cut(session: TenantSession, contact_ids: Collection[UUID]) -> None:
    """Contacts were erased: whatever their links knew of them goes, and that they are cut stays."""
    among = links.c.contact_id == any_(literal(list(contact_ids), ARRAY(links.c.contact_id.type)))
    await session.execute(update(links).where(among).values(is_cut=True, fingerprints={}))
