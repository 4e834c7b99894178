"""Mapping fields: what there is to map, which mappings a connection has, and what they would do. Nothing is asked of a CRM in a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chassis.audited_acts import Facts
from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.audit.v1.acts_pb2 import AuditedAct
from services.integrations.acts import tell
from services.integrations.crm.adapter import Crm
from services.integrations.crm.records import Property
from services.integrations.open_accounts import OpenAccounts
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.field_mappings import (
    FieldMapping,
    Mappings,
    change_mappings,
    fitted,
    mappings_of,
    misfit,
)
from services.integrations.sync.our_fields import OurField
from services.integrations.sync.pairing import Pairing
from services.integrations.sync.preview import PreviewedContact, preview

MOST_PREVIEWED = 10


@dataclass(frozen=True, slots=True)
class Mappable:
    """What there is on both sides."""

    fields: Sequence[OurField]
    properties: Sequence[Property]


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of some contacts, and why some of the connection's mappings hold no more."""

    contacts: Sequence[PreviewedContact]
    problems: Sequence[str]


class MappingFields:
    """Field mappings of connections, as clients see and change them."""

    def __init__(self, database: Database, accounts: OpenAccounts, contacts: Contacts) -> None:
        self._database = database
        self._accounts = accounts
        self._contacts = contacts

    async def mappable(self, context: RequestContext, connection_id: UUID) -> Mappable:
        """What can be mapped now. Raises NotFound, Conflict, Unavailable."""
        async with self._accounts.account(context, connection_id) as crm:
            return await self._mappable(context, crm)

    async def change(
        self, context: RequestContext, connection_id: UUID, wanted: Sequence[FieldMapping]
    ) -> Sequence[FieldMapping]:
        """Have a connection keep these in step. Raises InvalidRequest, and what `mappable` does."""
        if not await self._has(context, connection_id, wanted):
            _check(wanted, await self.mappable(context, connection_id))
        async with self._database.tenant_transaction(context) as session:
            before, after = await change_mappings(session, connection_id, wanted)
            if before != after:
                tell(
                    session,
                    AuditedAct.KIND_INTEGRATION_FIELDS_MAPPED,
                    connection_id,
                    before=_facts(before),
                    after=_facts(after),
                )
        return after.mappings

    async def preview(
        self, context: RequestContext, connection_id: UUID, wanted: Sequence[FieldMapping]
    ) -> Preview:
        """What these would do, or those that the connection has when these are none. Raises as `change` does."""
        async with self._accounts.account(context, connection_id) as crm:
            there = await self._mappable(context, crm)
            _check(wanted, there)
            async with self._database.tenant_transaction(context, read_only=True) as session:
                mappings = await mappings_of(session, connection_id)
            if wanted:
                mappings = mappings.changed_to(wanted)
            found = fitted(mappings.mappings, there.fields, there.properties)
            pairing = Pairing(connection_id, self._database, self._contacts, crm, found.fields)
            newest = await crm.newest(found.fields.properties, MOST_PREVIEWED)
            return Preview(await preview(_process(context), pairing, found.fields, newest), found.problems)

    async def _has(
        self, context: RequestContext, connection_id: UUID, wanted: Sequence[FieldMapping]
    ) -> bool:
        """Whether these are there already. They were looked at when they came: others can go while the CRM does not answer."""
        async with self._database.tenant_transaction(context, read_only=True) as session:
            there = (await mappings_of(session, connection_id)).mappings
        return len(set(wanted)) == len(wanted) and set(wanted) <= {replace(each, number=0) for each in there}

    async def _mappable(self, context: RequestContext, crm: Crm) -> Mappable:
        return Mappable(await self._contacts.fields(_process(context)), await crm.properties())


def _process(context: RequestContext) -> RequestContext:
    return RequestContext.of_process("integrations", context.organization, request_id=context.request_id)


def _check(wanted: Sequence[FieldMapping], there: Mappable) -> None:
    fields, properties = (
        {each.name: each for each in there.fields},
        {each.name: each for each in there.properties},
    )
    violations = []
    met = set[tuple[str, str]]()
    for place, each in enumerate(wanted):
        wrong = misfit(each, fields, properties)
        if wrong is not None:
            violations.append(FieldViolation(f"field_mappings[{place}].{wrong.part}", wrong.message))
        for part, name in (("field", each.field), ("property", each.property)):
            if (part, name) in met:
                violations.append(FieldViolation(f"field_mappings[{place}].{part}", "is mapped already"))
            met.add((part, name))
    if violations:
        raise InvalidRequest(*violations)


def _facts(there: Mappings) -> Facts:
    return {
        "field_mappings": [
            f"{each.field} {each.direction} {each.property}, {each.winner}" for each in there.mappings
        ]
    }
