"""Fields of ours and properties of a CRM that are kept in step, and how a value of one is written as the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property

from services.integrations.crm import records
from services.integrations.crm.records import Kind, Property, Record
from services.integrations.sync.contacts import EMAIL, OurContact
from services.integrations.sync.merging import Copy, Direction, Rule, Value

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# The address goes both ways, as every other field by whoever changed it last.
_EMAIL_RULE = Rule(EMAIL, Direction.BOTH)


@dataclass(frozen=True, slots=True)
class MappedField:
    """One of ours, by its rule, and the property that it is there."""

    rule: Rule
    property: Property


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

    def copy_of_contact(self, contact: OurContact | None) -> Copy:
        """A contact as it is merged; that of nobody yet has no values."""
        if contact is None:
            return Copy({}, opted_out=False, changed_at=_LONG_AGO)
        values = {name: contact.values.get(name) for name in self.names}
        return Copy({EMAIL: contact.email.lower(), **values}, contact.opted_out, contact.changed_at)

    def copy_of_record(self, record: Record | None, email: str) -> Copy:
        """A record as it is merged; one without an address goes by that of its contact."""
        if record is None:
            return Copy({EMAIL: email.lower()}, opted_out=False, changed_at=_LONG_AGO)
        values = {each.rule.field: _ours(record.properties.get(each.property.name)) for each in self.fields}
        return Copy({EMAIL: (record.email or email).lower(), **values}, record.opted_out, record.modified_at)

    def written(self, values: Mapping[str, Value]) -> dict[str, records.Value]:
        """Values of ours as the CRM has them, by property. Raises ValueError for one that cannot be."""
        return {
            each.property.name: _theirs(each.property, values[each.rule.field])
            for each in self.fields
            if each.rule.field in values and each.property.is_writable
        }


def _ours(value: records.Value) -> Value:
    """As contacts have it: text, number, true or false, a day as YYYY-MM-DD."""
    match value:
        case None | "" | ():
            return None
        case bool() | str():
            return value
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
        case datetime():
            return value.astimezone(UTC).date().isoformat()
        case date():
            return value.isoformat()
        case _:
            return "; ".join(value)


def _theirs(property_: Property, value: Value) -> records.Value:
    return None if value is None else _WRITERS[property_.kind](value)


def _number(value: Value) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("is not a number")  # noqa: TRY004 - the end of a sentence
    return Decimal(str(value))


def _yes_no(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is not true or false")  # noqa: TRY004
    return value


def _day(value: Value) -> date:
    return date.fromisoformat(str(value))


def _moment(value: Value) -> datetime:
    return datetime.combine(_day(value), datetime.min.time(), UTC)


def _text(value: Value) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _choices(value: Value) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(value).split(";") if part.strip())


_WRITERS: Mapping[Kind, Callable[[Value], records.Value]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.YES_NO: _yes_no,
    Kind.DATE: _day,
    Kind.MOMENT: _moment,
    Kind.CHOICE: _text,
    Kind.CHOICES: _choices,
}
