"""What is wrong with one value, by its type and the rule of its field, in the words a client reads."""

import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from chassis.contract.formats import CHECKS, has_line_break, is_text
from chassis.contract.rules import FieldRule

# Says what is wrong with a value, or None.
ValueCheck = Callable[[Any], str | None]

INTEGERS = frozenset(
    (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    )
)
FLOATS = frozenset((FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE))
NUMBERS = INTEGERS | FLOATS

_SECONDS_OF_TIMESTAMP = range(-62_135_596_800, 253_402_300_800)  # the years 1 to 9999
_NANOS = range(1_000_000_000)


def value_check(field: FieldDescriptor, rule: FieldRule) -> ValueCheck:
    """The check of one scalar value, by the field's type."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _bytes_check(rule) if field.type == FieldDescriptor.TYPE_BYTES else _text_check(rule)
    if field.enum_type is not None:
        return _enum_check(field.enum_type)
    if field.cpp_type in INTEGERS:
        return _number_check(rule)
    if field.cpp_type in FLOATS:
        return _finite_check(rule)
    return lambda value: None  # a bool is always well


def _text_check(rule: FieldRule) -> ValueCheck:
    follows, longest, unlike = CHECKS.get(rule.format, (None, 0, ""))
    least, single_line = rule.min_length, rule.single_line
    most = min(length for length in (rule.max_length, longest, math.inf) if length)

    def wrong(value: str) -> str | None:
        if len(value) > most:
            return f"must be at most {most:,} characters"
        if len(value) < least:
            return f"must be at least {least:,} characters" if least > 1 else "must not be empty"
        if not is_text(value):
            return "must not contain control characters"
        if single_line and has_line_break(value):
            return "must be a single line"
        if follows is not None and not follows(value):
            return unlike
        return None

    return wrong


def _bytes_check(rule: FieldRule) -> ValueCheck:
    least, most = rule.min_length, rule.max_length or math.inf

    def wrong(value: bytes) -> str | None:
        if len(value) > most:
            return f"must be at most {most:,} bytes"
        if len(value) < least:
            return f"must be at least {least:,} bytes"
        return None

    return wrong


def _number_check(rule: FieldRule) -> ValueCheck:
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum

    def wrong(value: float) -> str | None:
        if value < least:
            return f"must be at least {least:,}"
        if value > most:
            return f"must be at most {most:,}"
        return None

    return wrong


def _finite_check(rule: FieldRule) -> ValueCheck:
    out_of_range = _number_check(rule)
    return lambda value: out_of_range(value) if math.isfinite(value) else "must be a finite number"


def _enum_check(enum: EnumDescriptor) -> ValueCheck:
    known = frozenset(enum.values_by_number)
    return lambda value: None if value in known else "must be one of the known values"


def _is_time(value: Any) -> str | None:
    if value.seconds in _SECONDS_OF_TIMESTAMP and value.nanos in _NANOS:
        return None
    return "must be a time between the years 1 and 9999"


def _is_duration(value: Any) -> str | None:
    if abs(value.seconds) <= 315_576_000_000 and abs(value.nanos) < 1_000_000_000:
        return None
    return "must be a duration of at most 10,000 years"


# The messages that are values to a client.
WELL_KNOWN: dict[str, ValueCheck] = {
    "google.protobuf.Timestamp": _is_time,
    "google.protobuf.Duration": _is_duration,
}
