"""What is wrong with a request, field by field, judged by the `field` options of the contract.

Each message type is compiled once into a list of closures, one a field, so that a good request costs well under a
microsecond a field. Presence follows the contract: a field that is absent, or empty without explicit presence, is
judged by `required` alone; a number without explicit presence is always there.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.contract.formats import is_text
from chassis.contract.rules import FieldRule, Format, rule_of
from chassis.contract.values import NUMBERS, WELL_KNOWN, value_check
from chassis.errors import FieldViolation

__all__ = ["FieldRule", "Format", "rule_of", "violations"]

# Whoever gets everything wrong is told enough with this many; errors travel in headers.
MOST_VIOLATIONS = 20

# Adds what is wrong with one field of a message, whose own path is given.
FieldCheck = Callable[[Message, str, list[FieldViolation]], None]

_REQUIRED = "must be given"
_NO_TEXT = "must not contain control characters"
# Bounded in bytes, and holding text where they hold any; what else they may be, their domain says.
_FREE_FORM = frozenset(("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"))


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
    name, required, wrong = field.name, rule.required, value_check(field, rule)
    has_presence = field.has_presence
    always_there = field.cpp_type in NUMBERS

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
    wrong_key = value_check(entry["key"], rule)
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
    wrong = value_check(field, rule)

    def judge(value: Any, path: str, found: list[FieldViolation]) -> None:
        problem = wrong(value)
        if problem is not None:
            found.append(FieldViolation(path, problem))

    return judge


def _message_judge(
    field: FieldDescriptor, rule: FieldRule
) -> Callable[[Any, str, list[FieldViolation]], None]:
    kind, most = _message_type(field), rule.max_bytes
    in_range = WELL_KNOWN.get(kind.full_name)

    def judge(value: Message, path: str, found: list[FieldViolation]) -> None:
        if in_range is not None:
            problem = in_range(value)
            if problem is not None:
                found.append(FieldViolation(path, problem))
            return
        if most and value.ByteSize() > most:
            found.append(FieldViolation(path, f"must be at most {most:,} bytes"))
            return
        if kind.full_name in _FREE_FORM:
            _judge_texts(value, path, found)
            return
        path += "."
        # Looked up here, not above: a message type may contain itself.
        for check in checks_of(kind):
            check(value, path, found)

    return judge


def _judge_texts(value: Any, path: str, found: list[FieldViolation]) -> None:
    """Each text in a Struct, Value or ListValue, by the path that a client knows it by."""
    match value.DESCRIPTOR.name:
        case "Struct":
            for name, member in value.fields.items():
                if not is_text(name):
                    found.append(FieldViolation(path, _NO_TEXT))
                _judge_texts(member, f"{path}.{name[:60]}", found)
        case "ListValue":
            for index, element in enumerate(value.values):
                _judge_texts(element, f"{path}[{index}]", found)
        case _ if (kind := value.WhichOneof("kind")) in ("struct_value", "list_value"):
            _judge_texts(getattr(value, kind), path, found)
        case _ if not is_text(value.string_value):
            found.append(FieldViolation(path, _NO_TEXT))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _message_type(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no message")
    return field.message_type
