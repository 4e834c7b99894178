"""What is wrong with a request, field by field, judged by the `field` options of the contract.

Each message type is compiled once into a list of closures, one a field, so that a good request costs well under a
microsecond a field. Presence follows the contract: a field that is absent, or empty without explicit presence, is
judged by `required` alone; a number without explicit presence is always there.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.contract.formats import CHECKS, is_text
from chassis.contract.rules import FieldRule, Format, rule_of
from chassis.errors import FieldViolation

__all__ = ["FieldRule", "Format", "rule_of", "violations"]

# Whoever gets everything wrong is told enough with this many; errors travel in headers.
MOST_VIOLATIONS = 20

# Says what is wrong with one value, or None.
ValueCheck = Callable[[Any], str | None]
# Adds what is wrong with one field of a message, whose own path is given.
FieldCheck = Callable[[Message, str, list[FieldViolation]], None]

_SECONDS_OF_TIMESTAMP = range(-62_135_596_800, 253_402_300_800)  # the years 1 to 9999
_NANOS = range(1_000_000_000)
_REQUIRED = "must be given"
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
_FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def violations(message: Message) -> list[FieldViolation]:
    """Everything in a message that breaks a bound, at most 20 of them; empty when it is well."""
    found: list[FieldViolation] = []
    for check in checks_of(message.DESCRIPTOR):
        check(message, "", found)
    return found[:MOST_VIOLATIONS]


@cache
def checks_of(message: Descriptor) -> list[FieldCheck]:
    """The compiled checks of a message type. To call it ahead saves the first request the work."""
    return [_field_check(field) for field in message.fields]


def _field_check(field: FieldDescriptor) -> FieldCheck:
    rule = rule_of(field)
    if _is_map(field):
        return _map_check(field, rule)
    if field.is_repeated:
        return _repeated_check(field, rule)
    if field.message_type is not None:
        return _message_check(field, rule)
    return _scalar_check(field, rule)


def _scalar_check(field: FieldDescriptor, rule: FieldRule) -> FieldCheck:
    name, required, wrong = field.name, rule.required, _value_check(field, rule)
    has_presence = field.has_presence
    always_there = field.cpp_type in _INTEGERS | _FLOATS

    def check(message: Message, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if not value:
            if required:
                found.append(FieldViolation(path + name, _REQUIRED))
                return
            if not (message.HasField(name) if has_presence else always_there):
                return
        problem = wrong(value)
        if problem is not None:
            found.append(FieldViolation(path + name, problem))

    return check


def _message_check(field: FieldDescriptor, rule: FieldRule) -> FieldCheck:
    name, required = field.name, rule.required
    judge = _message_judge(field, rule)

    def check(message: Message, path: str, found: list[FieldViolation]) -> None:
        if message.HasField(name):
            judge(getattr(message, name), path + name, found)
        elif required:
            found.append(FieldViolation(path + name, _REQUIRED))

    return check


def _repeated_check(field: FieldDescriptor, rule: FieldRule) -> FieldCheck:
    name, required, most = field.name, rule.required, rule.max_items
    judge = _element_judge(field, rule)

    def check(message: Message, path: str, found: list[FieldViolation]) -> None:
        values = getattr(message, name)
        if not values:
            if required:
                found.append(FieldViolation(path + name, "must have at least one element"))
            return
        if most and len(values) > most:
            found.append(FieldViolation(path + name, f"must have at most {most:,} elements"))
            return
        for index, value in enumerate(values):
            judge(value, f"{path}{name}[{index}]", found)
            if len(found) >= MOST_VIOLATIONS:
                return

    return check


def _map_check(field: FieldDescriptor, rule: FieldRule) -> FieldCheck:
    name, required, most = field.name, rule.required, rule.max_items
    entry = _message_type(field).fields_by_name
    wrong_key = _value_check(entry["key"], rule)
    judge = _element_judge(entry["value"], rule)

    def check(message: Message, path: str, found: list[FieldViolation]) -> None:
        values = getattr(message, name)
        if required and not values:
            found.append(FieldViolation(path + name, "must have at least one entry"))
        if most and len(values) > most:
            found.append(FieldViolation(path + name, f"must have at most {most:,} entries"))
            return
        for key, value in values.items():
            # A key is the client's own text: shown short, and escaped.
            place = f"{path}{name}[{str(key)[:60]!r}]"
            problem = wrong_key(key)
            if problem is not None:
                found.append(FieldViolation(place, f"has a key that {problem}"))
            judge(value, place, found)
            if len(found) >= MOST_VIOLATIONS:
                return

    return check


def _element_judge(
    field: FieldDescriptor, rule: FieldRule
) -> Callable[[Any, str, list[FieldViolation]], None]:
    """What judges one element of a repeated field, or one value of a map."""
    if field.message_type is not None:
        return _message_judge(field, rule)
    wrong = _value_check(field, rule)

    def judge(value: Any, path: str, found: list[FieldViolation]) -> None:
        problem = wrong(value)
        if problem is not None:
            found.append(FieldViolation(path, problem))

    return judge


def _message_judge(
    field: FieldDescriptor, rule: FieldRule
) -> Callable[[Any, str, list[FieldViolation]], None]:
    kind, most = _message_type(field), rule.max_bytes
    in_range = {
        "google.protobuf.Timestamp": _is_time,
        "google.protobuf.Duration": _is_duration,
    }.get(kind.full_name)

    def judge(value: Message, path: str, found: list[FieldViolation]) -> None:
        if in_range is not None:
            problem = in_range(value)
            if problem is not None:
                found.append(FieldViolation(path, problem))
            return
        if most and value.ByteSize() > most:
            found.append(FieldViolation(path, f"must be at most {most:,} bytes"))
            return
        path += "."
        # Looked up here, not above: a message type may contain itself.
        for check in checks_of(kind):
            check(value, path, found)

    return judge


def _value_check(field: FieldDescriptor, rule: FieldRule) -> ValueCheck:
    """The check of one scalar value, by the field's type."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _bytes_check(rule) if field.type == FieldDescriptor.TYPE_BYTES else _text_check(rule)
    if field.enum_type is not None:
        return _enum_check(field.enum_type)
    if field.cpp_type in _INTEGERS:
        return _number_check(rule)
    if field.cpp_type in _FLOATS:
        return _finite_check(rule)
    return lambda value: None  # a bool is always well


def _text_check(rule: FieldRule) -> ValueCheck:
    follows, longest, unlike = CHECKS.get(rule.format, (None, 0, ""))
    least = rule.min_length
    most = min(length for length in (rule.max_length, longest, math.inf) if length)

    def wrong(value: str) -> str | None:
        if len(value) > most:
            return f"must be at most {most:,} characters"
        if len(value) < least:
            return f"must be at least {least:,} characters" if least > 1 else "must not be empty"
        if not is_text(value):
            return "must not contain control characters"
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


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _message_type(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no message")
    return field.message_type
