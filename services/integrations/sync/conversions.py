"""Which fields of ours and properties of a CRM go together, and how a value of one is written as the other.

What goes both ways comes back as it went, or does not go at all. Whatever has a value can become text, and text does not become what it
was again: such pairs go one way.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias

from services.integrations.crm import records
from services.integrations.crm.records import Choice, Kind, Property
from services.integrations.sync.merging import Direction, Value
from services.integrations.sync.our_fields import FieldType, OurField

# A number with more digits before or behind its point is written with an exponent.
_MOST_DIGITS = 30

# From a value of the CRM that is there, and from one of ours; either raises ValueError with the end of a sentence.
Read: TypeAlias = Callable[[Any], Value]
Write: TypeAlias = Callable[[Any], records.Value]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Between a field and a property; a way that they do not go together is None."""

    field: OurField
    read: Read | None = None
    write: Write | None = None
    # Whether there are values of ours that the CRM cannot have.
    refuses: bool = False

    def goes(self, direction: Direction) -> bool:
        """Whether values can go this way."""
        needed = {
            Direction.BOTH: (self.read, self.write),
            Direction.TO_CRM: (self.write,),
            Direction.FROM_CRM: (self.read,),
        }[direction]
        return None not in needed

    def ours(self, value: records.Value) -> Value:
        """A value of the CRM as contacts have it. Raises ValueError with the end of a sentence."""
        if value is None or value in ("", ()) or self.read is None:
            return None
        try:
            return self.field.fitting(self.read(value))
        except (OverflowError, ArithmeticError):
            raise ValueError("is out of all bounds") from None

    def theirs(self, value: Value) -> records.Value:
        """A value of ours as the CRM has it. Raises ValueError with the end of a sentence."""
        return None if value is None or self.write is None else self.write(value)


def conversion(field: OurField, property_: Property) -> Conversion:
    """How they go together, if they do."""
    read, write = _PAIRS.get((field.type, property_.kind), (_never, _never))
    refuses = property_.kind in (Kind.CHOICE, Kind.CHOICES)
    return Conversion(field, read(property_), write(property_), refuses)


def _never(_: Property) -> None:
    return None


def _always(convert: Callable[[Any], Any]) -> Callable[[Property], Callable[[Any], Any]]:
    return lambda _: convert


def _yes_no_text(value: bool) -> str:
    return "true" if value else "false"


def _number_text(value: Decimal) -> str:
    number = value.normalize()
    return f"{number:f}" if abs(number.adjusted()) < _MOST_DIGITS else str(number)


def _moment_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds")


def _any_text(value: Value) -> str:
    return _yes_no_text(value) if isinstance(value, bool) else str(value)


def _number(value: float) -> Decimal:
    return Decimal(str(value))


def _day(value: str) -> date:
    return date.fromisoformat(value)


def _day_text(value: date) -> str:
    return value.isoformat()


def _day_of(value: datetime) -> str:
    return value.astimezone(UTC).date().isoformat()


def _start_of(value: str) -> datetime:
    return datetime.combine(_day(value), time(), UTC)


def _same(value: Any) -> Any:
    return value


def names_of(choices: tuple[Choice, ...]) -> dict[str, str]:
    """What each choice is called here, by its value: as people read it in the CRM, unless another one could be meant."""
    labels = Counter(each.label.strip() for each in choices)
    values = {each.value for each in choices}
    return {
        each.value: label if _is_clear(label, each, labels, values) else each.value
        for each in choices
        for label in (each.label.strip(),)
    }


def _is_clear(label: str, choice: Choice, labels: Mapping[str, int], values: set[str]) -> bool:
    is_another = label in values and label != choice.value
    return bool(label) and ";" not in label and labels[label] == 1 and not is_another


def _choice_read(property_: Property) -> Read:
    names = names_of(property_.choices)
    return lambda value: names.get(value, value)


def _choice_write(property_: Property) -> Callable[[str], str]:
    values = {name: value for value, name in names_of(property_.choices).items()}

    def write(value: str) -> str:
        if value not in values:
            raise ValueError("is none of the CRM's choices")
        return values[value]

    return write


def _choices_read(property_: Property) -> Read:
    names = names_of(property_.choices)
    places = {value: place for place, value in enumerate(names)}

    def read(value: tuple[str, ...]) -> str:
        in_order = sorted(value, key=lambda each: (places.get(each, len(places)), each))
        return "; ".join(names.get(each, each) for each in in_order)

    return read


def _choices_write(property_: Property) -> Write:
    one = _choice_write(property_)

    def write(value: str) -> tuple[str, ...]:
        parts = (part.strip() for part in value.split(";"))
        return tuple(dict.fromkeys(one(part) for part in parts if part))

    return write


_CHOICE = (_choice_read, _choice_write)
_TEXT = (_always(_same), _always(_same))
_WRITTEN_AS_TEXT = (_never, _always(_any_text))

# How values are read, and how they are written.
_PAIRS: Mapping[tuple[FieldType, Kind], tuple[Callable[[Property], Any], Callable[[Property], Any]]] = {
    **{
        (kind, theirs): how
        for kind in (FieldType.NAME, FieldType.TEXT, FieldType.CHOICE, FieldType.TIME_ZONE)
        for theirs, how in ((Kind.TEXT, _TEXT), (Kind.CHOICE, _CHOICE))
    },
    (FieldType.TEXT, Kind.CHOICES): (_choices_read, _choices_write),
    (FieldType.TEXT, Kind.NUMBER): (_always(_number_text), _never),
    (FieldType.TEXT, Kind.YES_NO): (_always(_yes_no_text), _never),
    (FieldType.TEXT, Kind.DATE): (_always(_day_text), _never),
    (FieldType.TEXT, Kind.MOMENT): (_always(_moment_text), _never),
    (FieldType.NUMBER, Kind.NUMBER): (_always(float), _always(_number)),
    (FieldType.NUMBER, Kind.TEXT): _WRITTEN_AS_TEXT,
    (FieldType.BOOLEAN, Kind.YES_NO): (_always(_same), _always(_same)),
    (FieldType.BOOLEAN, Kind.TEXT): _WRITTEN_AS_TEXT,
    (FieldType.DATE, Kind.DATE): (_always(_day_text), _always(_day)),
    (FieldType.DATE, Kind.MOMENT): (_always(_day_of), _always(_start_of)),
    (FieldType.DATE, Kind.TEXT): _WRITTEN_AS_TEXT,
}
