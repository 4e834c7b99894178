"""Fields of our contacts, as the contacts service describes them, and which values each may have."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from math import isfinite
from zoneinfo import available_timezones

from chassis.contract.formats import is_text
from services.integrations.sync.merging import Value

_MOST_NUMBERS = 2**53
_BREAKS = re.compile("[\t\r\n]")
# What a machine keeps beside the zones.
_NO_ZONES = frozenset(("Factory", "localtime"))


class FieldType(StrEnum):
    """What a field's values are."""

    NAME = "name"
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    CHOICE = "choice"
    TIME_ZONE = "time_zone"


@dataclass(frozen=True, slots=True)
class OurField:
    """A field, by the name that mappings have for it. `max_length` in characters, of texts and names."""

    name: str
    label: str
    type: FieldType
    choices: tuple[str, ...] = ()
    max_length: int = 0

    def fitting(self, value: Value) -> Value:
        """The value as contacts keep it; None and the empty text are none. Raises ValueError with the end of a sentence."""
        return None if value is None or value == "" else _FITTING[self.type](self, value)


def _text(field: OurField, value: Value) -> Value:
    if not isinstance(value, str):
        raise ValueError("is no text")  # noqa: TRY004 - the end of a sentence
    if len(value) > field.max_length:
        raise ValueError(f"has more than {field.max_length:,} characters")
    if not is_text(value):
        raise ValueError("has control characters")
    return value


def _name(field: OurField, value: Value) -> Value:
    text = str(value).strip()
    if _BREAKS.search(text):
        raise ValueError("has line breaks or tabs")
    return _text(field, text) or None


def _number(_: OurField, value: Value) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("is no number that a field can have")
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < _MOST_NUMBERS else number


def _boolean(_: OurField, value: Value) -> Value:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004
    return value


def _date(_: OurField, value: Value) -> Value:
    return date.fromisoformat(str(value)).isoformat()


def _choice(field: OurField, value: Value) -> Value:
    if value not in field.choices:
        raise ValueError("is none of the field's choices")
    return value


def _time_zone(_: OurField, value: Value) -> Value:
    if value not in _zones():
        raise ValueError("is no time zone such as Europe/Berlin")
    return value


@cache
def _zones() -> frozenset[str]:
    # Looked for in many files: once, and not as the module is loaded.
    return frozenset(available_timezones() - _NO_ZONES)


_FITTING: Mapping[FieldType, Callable[[OurField, Value], Value]] = {
    FieldType.NAME: _name,
    FieldType.TEXT: _text,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.CHOICE: _choice,
    FieldType.TIME_ZONE: _time_zone,
}
