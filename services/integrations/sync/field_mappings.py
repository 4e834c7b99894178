"""Field mappings: which fields of ours and properties of a CRM a connection keeps in step, and which of them it can.

A connection of which nobody has said otherwise keeps people's names in step. Each mapping has a number, which is never given again: what
was agreed upon is kept by it, so that a field that is mapped to another property, or once more, begins as one of which nothing is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.integrations.connections import no_such
from services.integrations.crm.adapter import Crm
from services.integrations.crm.providers import PROVIDERS
from services.integrations.crm.records import Property
from services.integrations.sync import positions, syncs
from services.integrations.sync.contacts import EMAIL, Contacts
from services.integrations.sync.conversions import conversion
from services.integrations.sync.mapped_fields import MappedField, MappedFields
from services.integrations.sync.merging import Direction, Rule, Winner
from services.integrations.sync.our_fields import OurField
from services.integrations.tables import connections, field_mappings


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """A field of ours and the property that it is kept in step with. `number` is which of the connection's it is; 0 before it is one."""

    field: str
    property: str
    direction: Direction = Direction.BOTH
    winner: Winner = Winner.NEWEST
    number: int = 0


@dataclass(frozen=True, slots=True)
class Mappings:
    """Those of a connection, and the last number that was given."""

    mappings: Sequence[FieldMapping]
    last: int

    def changed_to(self, wanted: Sequence[FieldMapping]) -> "Mappings":
        """These in place of those that there are: one that says what one said before stays that one."""
        numbers, last, numbered = {_meaning(each): each.number for each in self.mappings}, self.last, []
        for each in wanted:
            number = numbers.get(_meaning(each))
            if number is None:
                number = last = last + 1
            numbered.append(replace(each, number=number))
        return Mappings(sorted(numbered, key=lambda each: each.number), last)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Which part of a mapping is wrong, and the end of a sentence that says why."""

    part: str
    message: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """What can be kept in step, and a sentence for each mapping that cannot."""

    fields: MappedFields
    problems: Sequence[str]


async def mappings_of(session: TenantSession, connection_id: UUID, *, to_change: bool = False) -> Mappings:
    """What a connection keeps in step, held until the transaction ends if it is to change. Raises NotFound."""
    wanted = select(connections.c.provider, connections.c.mappings_made).where(
        connections.c.id == connection_id
    )
    row = (
        await session.execute(wanted.with_for_update(key_share=True) if to_change else wanted)
    ).one_or_none()
    if row is None:
        raise no_such(connection_id)
    if not row.mappings_made:
        return _defaults(row.provider)
    found = await session.execute(
        select(field_mappings)
        .where(field_mappings.c.connection_id == connection_id)
        .order_by(field_mappings.c.number)
    )
    mappings = [
        FieldMapping(each.field, each.property, Direction(each.direction), Winner(each.winner), each.number)
        for each in found
    ]
    return Mappings(mappings, row.mappings_made)


async def change_mappings(
    session: TenantSession, connection_id: UUID, wanted: Sequence[FieldMapping]
) -> tuple[Mappings, Mappings]:
    """Have a connection keep these in step, and no others; what it had before, and has now. Raises NotFound.

    A sync that is under way goes on with these. Where one is new, everybody is compared once more.
    """
    before = await mappings_of(session, connection_id, to_change=True)
    after = before.changed_to(wanted)
    if after == before:
        return before, after
    await session.execute(
        update(connections)
        .where(connections.c.id == connection_id)
        .values(mappings_made=after.last, updated_at=func.now())
    )
    await session.execute(delete(field_mappings).where(field_mappings.c.connection_id == connection_id))
    if after.mappings:
        await session.execute(insert(field_mappings), [_row(connection_id, each) for each in after.mappings])
    # Before the position, as whoever works on it does.
    await syncs.interrupt(session, connection_id)
    if after.last > before.last:
        await positions.move(
            session, connection_id, cursor=None, contacts_until=None, told_all_contacts=False
        )
    return before, after


async def fields_to_sync(
    database: Database, context: RequestContext, connection_id: UUID, crm: Crm, contacts: Contacts
) -> Fitted:
    """What a connection keeps in step as its CRM and our contacts are now. Raises NotFound, what the CRM raises, and Unavailable.

    A mapping whose field or property is gone, or has become something else, is left out and told among the problems.
    """
    async with database.tenant_transaction(context, read_only=True) as session:
        mappings = (await mappings_of(session, connection_id)).mappings
    return fitted(mappings, await contacts.fields(context), await crm.properties())


def fitted(
    mappings: Sequence[FieldMapping], fields: Sequence[OurField], properties: Sequence[Property]
) -> Fitted:
    """Those that fit, and why others do not."""
    by_field, by_property = {each.name: each for each in fields}, {each.name: each for each in properties}
    fitting, problems = [], []
    for each in mappings:
        wrong = misfit(each, by_field, by_property)
        if wrong is None:
            rule = Rule(each.field, each.direction, each.winner, str(each.number))
            fitting.append(MappedField(rule, by_field[each.field], by_property[each.property]))
        else:
            problems.append(
                f"{each.field} and {each.property} are not kept in step: {wrong.part} {wrong.message}."
            )
    return Fitted(MappedFields(fitting), problems)


def misfit(
    mapping: FieldMapping, fields: Mapping[str, OurField], properties: Mapping[str, Property]
) -> Misfit | None:
    """Why these cannot be kept in step, if they cannot."""
    if mapping.field == EMAIL:
        return Misfit("field", "is kept in step as it is")
    field, property_ = fields.get(mapping.field), properties.get(mapping.property)
    if field is None:
        return Misfit("field", "is none that contacts have")
    if property_ is None:
        return Misfit("property", "is none that contacts have in the CRM")
    return _misfit(mapping.direction, field, property_)


def _misfit(direction: Direction, field: OurField, property_: Property) -> Misfit | None:
    between = conversion(field, property_)
    possible = [each for each in Direction if between.goes(each)]
    if not possible:
        return Misfit("property", f"is of type {property_.kind}, which does not go with {field.type}")
    if direction not in possible:
        return Misfit("direction", f"must be {possible[0]} for {field.type} and {property_.kind}")
    if direction is not Direction.FROM_CRM and not property_.is_writable:
        return Misfit("direction", f"must be {Direction.FROM_CRM}, as the CRM lets nobody write the property")
    return None


def _meaning(mapping: FieldMapping) -> tuple[str, str, Direction]:
    """What it is about: one that says another thing is another mapping."""
    return mapping.field, mapping.property, mapping.direction


def _defaults(provider: str) -> Mappings:
    mapped = zip(("first_name", "last_name"), PROVIDERS[provider].names, strict=True)
    mappings = [FieldMapping(field, name, number=place) for place, (field, name) in enumerate(mapped, 1)]
    return Mappings(mappings, len(mappings))


def _row(connection_id: UUID, mapping: FieldMapping) -> dict[str, object]:
    return {
        "connection_id": connection_id,
        "number": mapping.number,
        "field": mapping.field,
        "property": mapping.property,
        "direction": mapping.direction.value,
        "winner": mapping.winner.value,
    }
