"""Pairing: which contact and which record are the same person's, by their link, or else by their address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from services.integrations.crm.adapter import Crm
from services.integrations.crm.records import Record
from services.integrations.sync.contacts import Batch, Contacts, OurContact
from services.integrations.sync.links import Link, Links, linked_among, links_of
from services.integrations.sync.mapped_fields import MappedFields
from services.integrations.sync.settling import Pair, Problem


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs to settle, links that hold no more, and what could not be paired."""

    pairs: Sequence[Pair]
    cut: Sequence[Link] = ()
    problems: Sequence[Problem] = ()
    # Addresses of records that are in no pair, and whose people have opted out there.
    opted_out: Sequence[str] = ()


class Pairing:
    """Of one connection."""

    def __init__(
        self, connection_id: UUID, database: Database, contacts: Contacts, crm: Crm, fields: MappedFields
    ) -> None:
        self._connection_id = connection_id
        self._database = database
        self._contacts = contacts
        self._crm = crm
        self._fields = fields

    async def of_records(self, context: RequestContext, records: Sequence[Record]) -> Paired:
        """The contacts of records; whose contact was erased here is left alone."""
        latest = {record.id: record for record in records}
        links = await self._links(context, records=list(latest))
        archived = [
            links.by_record[each.id]
            for each in latest.values()
            if each.is_archived and each.id in links.by_record
        ]
        live = [
            record
            for record in latest.values()
            if not record.is_archived
            and not (record.id in links.by_record and links.by_record[record.id].is_cut)
        ]
        linked = [(record, links.by_record[record.id]) for record in live if record.id in links.by_record]
        strangers = [record for record in live if record.id not in links.by_record]
        found = await self._contacts.read(
            context, [link.contact_id for _, link in linked], self._fields.names
        )
        known = [
            Pair(found[place], record, link) for place, (record, link) in enumerate(linked) if place in found
        ]
        met = await self._meet(context, strangers)
        return Paired([*known, *met.pairs], archived, met.problems, met.opted_out)

    async def of_contacts(self, context: RequestContext, contacts: Sequence[OurContact]) -> Paired:
        """The records of contacts. Nobody gets one who has opted out."""
        links = await self._links(context, contacts=[contact.id for contact in contacts])
        linked = [
            (contact, links.by_contact[contact.id])
            for contact in contacts
            if contact.id in links.by_contact and not links.by_contact[contact.id].is_cut
        ]
        strangers = [contact for contact in contacts if contact.id not in links.by_contact]
        records = await self._records([link.record_id for _, link in linked])
        known = [
            Pair(contact, records[link.record_id], link)
            for contact, link in linked
            if link.record_id in records
        ]
        gone = [link for _, link in linked if link.record_id not in records]
        met = await self._introduce(context, strangers)
        return Paired([*known, *met.pairs], gone, met.problems)

    async def of_strangers(self, context: RequestContext, batch: Batch) -> Paired:
        """The same of those among them who are linked with no record."""
        async with self._database.tenant_transaction(context, read_only=True) as session:
            linked = await linked_among(session, self._connection_id, batch.ids)
        return await self._introduce(context, batch.without(linked))

    async def _introduce(self, context: RequestContext, strangers: Sequence[OurContact]) -> Paired:
        """Contacts that have no link yet, with the records that have their addresses."""
        if not strangers:
            return Paired([])
        by_email = await self._crm.find(
            [contact.email.lower() for contact in strangers], self._fields.properties
        )
        taken = (await self._links(context, records=[each.id for each in by_email.values()])).by_record
        pairs, problems = list[Pair](), list[Problem]()
        for contact in strangers:
            record = by_email.get(contact.email.lower())
            if record is not None and record.id in taken:
                problems.append(
                    Problem(contact.id, record.id, "The record of that address belongs to another contact.")
                )
            elif record is not None or not contact.opted_out:
                pairs.append(Pair(contact, record))
        return Paired(pairs, (), problems)

    async def _meet(self, context: RequestContext, strangers: Sequence[Record]) -> Paired:
        """Records that have no link yet, with the contacts that have their addresses. An opt-out counts in each of several, too."""
        problems, by_email, others = [], dict[str, Record](), list[tuple[str, Record]]()
        for record in strangers:
            email = (record.email or "").strip().lower()
            if not email:
                problems.append(Problem(None, record.id, "It has no e-mail address."))
            elif email in by_email:
                problems.append(Problem(None, record.id, "Another record has the same e-mail address."))
                others.append((email, record))
            else:
                by_email[email] = record
        found = await self._contacts.find(context, list(by_email), self._fields.names)
        links = await self._links(context, contacts=[contact.id for contact in found.values()])
        pairs = []
        for email, record in by_email.items():
            contact = found.get(email)
            link = links.by_contact.get(contact.id) if contact else None
            if link is None or link.is_cut:
                pairs.append(Pair(contact, record))
            else:
                problems.append(Problem(link.contact_id, record.id, "Another record is that contact's."))
                others.append((email, record))
        opted_out = [
            email for email, record in others if record.opted_out and _is_news(found.get(email), links)
        ]
        return Paired(pairs, (), problems, opted_out)

    async def _links(
        self, context: RequestContext, *, contacts: Sequence[UUID] = (), records: Sequence[str] = ()
    ) -> Links:
        if not contacts and not records:
            return Links({}, {})
        async with self._database.tenant_transaction(context, read_only=True) as session:
            return await links_of(session, self._connection_id, contacts=contacts, records=records)

    async def _records(self, ids: Sequence[str]) -> Mapping[str, Record]:
        return await self._crm.read(ids, self._fields.properties) if ids else {}


def _is_news(contact: OurContact | None, links: Links) -> bool:
    """Whether the CRM has not said before that this person has opted out: who came back here since is not opted out again."""
    if contact is None:
        return True
    link = links.by_contact.get(contact.id)
    return not contact.opted_out and not (link is not None and link.agreement.crm_opted_out)
