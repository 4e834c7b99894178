"""Protobuf → JSON, compiled once per message type.

snake_case names; enum values by their JSON names; 64-bit integers as numbers; times in RFC 3339; a Struct as the JSON
that it stands for; what is not set is null; empty strings and lists are there, so that a client sees the same members
every time. A message that is sparse is as it was written instead.
"""

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.contract.json_names import json_names
from chassis.contract.plain_json import plain_struct, plain_value
from chassis.contract.timestamps import format_timestamp
from flownurture.options.v1 import json_pb2

# Turns a value as protobuf holds it into one that orjson writes.
Convert = Callable[[Any], Any]


class Encoder:
    """Turns messages of one type into dictionaries."""

    def __init__(self, descriptor: Descriptor) -> None:
        fields = descriptor.fields
        self._is_sparse = is_sparse(descriptor)
        self._names = tuple(field.name for field in fields)
        # One C call reads every field; only those whose value is not JSON already are touched again.
        self._read = attrgetter(*self._names) if len(fields) > 1 else self._read_few
        self._conversions = tuple(
            (field.name, field.has_presence, convert)
            for field in fields
            if (convert := _conversion(field)) is not None
        )

    def __call__(self, message: Message) -> dict[str, Any]:
        """The members of a message, by name."""
        members = dict(zip(self._names, self._read(message), strict=True))
        for name, has_presence, convert in self._conversions:
            members[name] = None if has_presence and not message.HasField(name) else convert(members[name])
        if self._is_sparse:
            return {field.name: members[field.name] for field, _ in message.ListFields()}
        return members

    def _read_few(self, message: Message) -> tuple[Any, ...]:
        return tuple(getattr(message, name) for name in self._names)


@cache
def encoder(descriptor: Descriptor) -> Encoder:
    """The encoder of a message type."""
    return Encoder(descriptor)


def is_sparse(descriptor: Descriptor) -> bool:
    """Whether what is not set of a message is left out."""
    sparse: bool = descriptor.GetOptions().Extensions[json_pb2.sparse]
    return sparse


def _conversion(field: FieldDescriptor) -> Convert | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        convert_value = _element(field.message_type.fields_by_name["value"])
        return lambda entries: {_key(key): convert_value(value) for key, value in entries.items()}
    if field.is_repeated:
        convert_element = _element(field)
        return lambda values: [convert_element(value) for value in values]
    if field.has_presence or _needs_conversion(field):
        return _element(field)
    return None


def _needs_conversion(field: FieldDescriptor) -> bool:
    return (
        field.message_type is not None
        or field.enum_type is not None
        or field.type == FieldDescriptor.TYPE_BYTES
    )


def _element(field: FieldDescriptor) -> Convert:
    """The conversion of one value of a field."""
    if field.enum_type is not None:
        # A number that this build does not know yet stays a number.
        names = json_names(field.enum_type)
        return lambda number: names.get(number, number or None)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    if field.message_type is None:
        return _itself
    if field.message_type.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[field.message_type.full_name]
    return _message_conversion(field.message_type)


def _message_conversion(kind: Descriptor) -> Convert:
    def convert(message: Message) -> dict[str, Any]:
        # Looked up here, not above: a message type may contain itself.
        return encoder(kind)(message)

    return convert


_WELL_KNOWN: dict[str, Convert] = {
    "google.protobuf.Timestamp": format_timestamp,
    "google.protobuf.Struct": plain_struct,
    "google.protobuf.Value": plain_value,
}


def _itself(value: Any) -> Any:
    return value


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
