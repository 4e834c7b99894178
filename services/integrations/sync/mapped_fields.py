"""Fields of ours and properties of a CRM that are kept in step: copies of both sides in terms of ours, and what is written as the CRM has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

from services.integrations.crm import records
from services.integrations.crm.records import Property, Record
from services.integrations.sync.contacts import EMAIL, OurContact
from services.integrations.sync.conversions import Conversion, conversion
from services.integrations.sync.merging import Agreement, Copy, Direction, Merge, Rule, Value, merge
from services.integrations.sync.our_fields import OurField

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# The address goes both ways, as every other field by whoever changed it last.
_EMAIL_RULE = Rule(EMAIL, Direction.BOTH)
# Of a property's, in what is told of its values.
_LONGEST_LABEL = 100
# What nobody has agreed upon needs no name.
_NOBODY = UUID(int=0)
# What stands for a value that a CRM has and that no field of ours can have: no value of ours is like it.
_UNREADABLE = "\0"


@dataclass(frozen=True)
class MappedField:
    """One of ours, how it is kept in step, and the property that it is there."""

    rule: Rule
    ours: OurField
    property: Property

    @cached_property
    def conversion(self) -> Conversion:
        """How their values become each other."""
        return conversion(self.ours, self.property)

    @cached_property
    def is_written(self) -> bool:
        """Whether the CRM is told of it."""
        return self.rule.direction is not Direction.FROM_CRM


@dataclass(frozen=True)
class MappedFields:
    """All that a connection keeps in step."""

    fields: Sequence[MappedField]

    @cached_property
    def rules(self) -> list[Rule]:
        """How each is merged."""
        return [_EMAIL_RULE, *(each.rule for each in self.fields)]

    @cached_property
    def names(self) -> list[str]:
        """Our fields, the address apart."""
        return [each.rule.field for each in self.fields]

    @cached_property
    def properties(self) -> list[Property]:
        """The CRM's properties, each once."""
        return list({each.property.name: each.property for each in self.fields}.values())

    def merged(self, contact: OurContact | None, record: Record | None, agreed: Agreement | None) -> Merge:
        """What both have to tell each other; either may be nobody yet."""
        return merge(
            contact.id if contact else _NOBODY,
            self.copy_of_contact(contact),
            self.copy_of_record(record, contact.email if contact else ""),
            agreed or Agreement(),
            self.rules,
        )

    def copy_of_contact(self, contact: OurContact | None) -> Copy:
        """A contact as it is merged; that of nobody yet has no values."""
        if contact is None:
            return Copy({}, opted_out=False, changed_at=_LONG_AGO)
        values: dict[str, Value] = {EMAIL: contact.email.lower()}
        unfit: dict[str, str] = {}
        for each in self.fields:
            name = each.rule.field
            values[name] = contact.values.get(name)
            if each.is_written and each.conversion.refuses:
                try:
                    each.conversion.theirs(values[name])
                except ValueError as wrong:
                    unfit[name] = f"{each.ours.label[:_LONGEST_LABEL]} {wrong}."
        return Copy(values, contact.opted_out, contact.changed_at, unfit)

    def copy_of_record(self, record: Record | None, email: str) -> Copy:
        """A record as it is merged; one without an address goes by that of its contact."""
        if record is None:
            return Copy({EMAIL: email.lower()}, opted_out=False, changed_at=_LONG_AGO)
        values: dict[str, Value] = {EMAIL: (record.email or email).lower()}
        unfit: dict[str, str] = {}
        for each in self.fields:
            name = each.rule.field
            try:
                values[name] = each.conversion.ours(_held(record, each.property))
            except ValueError as wrong:
                values[name], unfit[name] = _UNREADABLE, f"{each.property.label[:_LONGEST_LABEL]} {wrong}."
        return Copy(values, record.opted_out, record.modified_at, unfit)

    def written(self, values: Mapping[str, Value]) -> dict[str, records.Value]:
        """Values of ours as the CRM has them, by property. Raises ValueError for one that cannot be."""
        return {
            each.property.name: each.conversion.theirs(values[each.rule.field])
            for each in self.fields
            if each.is_written and each.rule.field in values
        }


def _held(record: Record, property_: Property) -> records.Value:
    if property_.name not in record.properties:
        raise ValueError(f"is no {property_.kind.value.replace('_', ' or ')} in the CRM")
    return record.properties[property_.name]
