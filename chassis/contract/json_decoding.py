"""JSON → protobuf, compiled once per message type. What is wrong is collected field by field, never raised.

Stricter than protobuf's own JSON mapping, so that a client's mistake is told and not guessed around: no unknown
members, no strings for numbers, no numbers for enum values, no null for what is not a message.
"""

import math
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.contract.free_form import fill_struct, fill_value
from chassis.contract.json_names import json_names
from chassis.contract.timestamps import parse_timestamp
from chassis.errors import FieldViolation

# Turns one JSON value into what protobuf takes; raises ValueError with the end of a sentence ("must be a string").
Read = Callable[[Any], Any]
# Sets one field of a message from a JSON value that lies at a path.
Setter = Callable[[Message, Any, str, list[FieldViolation]], None]

_INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_LARGEST_FLOAT = (2 - 2**-23) * 2.0**127
# Messages within messages: where a type contains itself, the client decides how deep. Protobuf reads no deeper than this.
_DEEPEST = 90


class UnsupportedField(TypeError):
    """A request has a field whose type has no JSON form here; the gateway refuses to start with it."""


class Decoder:
    """Fills messages of one type from JSON objects."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._setters = {field.name: _setter(field) for field in descriptor.fields}
        self._alternatives = {
            field.name: field.containing_oneof.name
            for field in descriptor.fields
            if field.containing_oneof is not None and not field.containing_oneof.name.startswith("_")
        }

    def __call__(
        self,
        message: Message,
        value: object,
        path: str,
        found: list[FieldViolation],
        withheld: frozenset[str] = frozenset(),
    ) -> None:
        """Set the fields that `value` names; `withheld` are fields that it may not set, as if they did not exist."""
        if not isinstance(value, dict):
            found.append(FieldViolation(path.removesuffix("."), "must be an object"))
            return
        chosen: dict[str, str] = {}
        for name, member in value.items():
            setter = self._setters.get(name)
            if setter is None or name in withheld:
                found.append(FieldViolation(path + shown(name), "is not a known field"))
                continue
            if (oneof := self._alternatives.get(name)) is not None and member is not None:
                if oneof in chosen:
                    found.append(
                        FieldViolation(path + name, f"may not be given together with {chosen[oneof]}")
                    )
                    continue
                chosen[oneof] = name
            setter(message, member, path + name, found)


@cache
def decoder(descriptor: Descriptor) -> Decoder:
    """The decoder of a message type."""
    return Decoder(descriptor)


def shown(name: str) -> str:
    """A name that the client made up, short and printable."""
    return name if len(name) <= 60 and name.isprintable() else f"{name[:60]!a}"


def reader(field: FieldDescriptor) -> Read:
    """What reads one scalar value of a field."""
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.cpp_type in _INTEGER_RANGES:
        return _integer_reader(*_INTEGER_RANGES[field.cpp_type])
    return {
        FieldDescriptor.TYPE_STRING: _read_string,
        FieldDescriptor.TYPE_BYTES: _read_bytes,
        FieldDescriptor.TYPE_BOOL: _read_bool,
        FieldDescriptor.TYPE_DOUBLE: _read_double,
        FieldDescriptor.TYPE_FLOAT: _read_float,
    }[field.type]


def _setter(field: FieldDescriptor) -> Setter:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_setter(field, field.message_type)
    if field.is_repeated:
        return _repeated_setter(field)
    if field.message_type is not None:
        return _message_setter(field, field.message_type)
    return _scalar_setter(field)


def _scalar_setter(field: FieldDescriptor) -> Setter:
    name, read = field.name, reader(field)

    def set_scalar(message: Message, value: Any, path: str, found: list[FieldViolation]) -> None:
        try:
            setattr(message, name, read(value))
        except ValueError as error:
            found.append(FieldViolation(path, str(error)))

    return set_scalar


def _message_setter(field: FieldDescriptor, kind: Descriptor) -> Setter:
    name, fill = field.name, _filler(kind, field)

    def set_message(message: Message, value: Any, path: str, found: list[FieldViolation]) -> None:
        if value is None:
            return
        member = getattr(message, name)
        member.SetInParent()
        fill(member, value, path, found)

    return set_message


def _repeated_setter(field: FieldDescriptor) -> Setter:
    name = field.name
    fill = None if field.message_type is None else _filler(field.message_type, field)
    read = reader(field) if field.message_type is None else None

    def set_repeated(message: Message, value: Any, path: str, found: list[FieldViolation]) -> None:
        if not isinstance(value, list):
            found.append(FieldViolation(path, "must be a list"))
            return
        elements = getattr(message, name)
        for index, element in enumerate(value):
            if fill is not None:
                fill(elements.add(), element, f"{path}[{index}]", found)
            elif read is not None:
                try:
                    elements.append(read(element))
                except ValueError as error:
                    found.append(FieldViolation(f"{path}[{index}]", str(error)))

    return set_repeated


def _map_setter(field: FieldDescriptor, entry_type: Descriptor) -> Setter:
    entry = entry_type.fields_by_name
    if entry["key"].type != FieldDescriptor.TYPE_STRING:
        raise UnsupportedField(f"{field.full_name}: only maps with string keys have a JSON form here")
    name = field.name
    kind = entry["value"].message_type
    fill = None if kind is None else _filler(kind, field)
    read = reader(entry["value"]) if kind is None else None

    def set_map(message: Message, value: Any, path: str, found: list[FieldViolation]) -> None:
        if not isinstance(value, dict):
            found.append(FieldViolation(path, "must be an object"))
            return
        entries = getattr(message, name)
        for key, element in value.items():
            place = f"{path}[{shown(key)!r}]"
            if fill is not None:
                fill(entries[key], element, place, found)
            elif read is not None:
                try:
                    entries[key] = read(element)
                except ValueError as error:
                    found.append(FieldViolation(place, str(error)))

    return set_map


def _filler(kind: Descriptor, field: FieldDescriptor) -> Setter:
    """What fills a sub-message, or an element or entry of a field, from a JSON value."""
    if kind.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[kind.full_name]
    if kind.full_name.startswith("google."):
        raise UnsupportedField(f"{field.full_name}: {kind.full_name} has no JSON form here")

    def fill(message: Message, value: Any, path: str, found: list[FieldViolation]) -> None:
        if path.count(".") >= _DEEPEST:
            found.append(FieldViolation(path, "is nested too deeply"))
            return
        # Compiled at first use: a message type may contain itself.
        decoder(kind)(message, value, path + ".", found)

    return fill


def _fill_timestamp(message: Any, value: Any, path: str, found: list[FieldViolation]) -> None:
    try:
        message.CopyFrom(parse_timestamp(_read_string(value)))
    except ValueError:
        found.append(FieldViolation(path, "must be an RFC 3339 time such as 2026-01-31T12:00:00Z"))


_WELL_KNOWN: dict[str, Setter] = {
    "google.protobuf.Timestamp": _fill_timestamp,
    "google.protobuf.Struct": fill_struct,
    "google.protobuf.Value": fill_value,
}


def _enum_reader(enum: EnumDescriptor) -> Read:
    numbers = {name: number for number, name in json_names(enum).items()}
    allowed = ", ".join(numbers)

    def read(value: Any) -> int:
        number = numbers.get(value) if isinstance(value, str) else None
        if number is None:
            raise ValueError(f"must be one of: {allowed}")
        return number

    return read


def _integer_reader(least: int, most: int) -> Read:
    def read(value: Any) -> int:
        # A bool is an int to Python, not to anybody who writes JSON.
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("must be a whole number")  # noqa: TRY004
        if not least <= value <= most:
            raise ValueError(f"must be between {least:,} and {most:,}")
        return value

    return read


def _read_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004
    return value


def _read_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except ValueError:
            pass
    raise ValueError("must be base64 text")


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def _read_double(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("must be a number")
    return float(value)


def _read_float(value: Any) -> float:
    number = _read_double(value)
    if abs(number) > _LARGEST_FLOAT:
        raise ValueError("must fit a 32-bit floating-point number")
    return number
