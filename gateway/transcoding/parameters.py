"""Path and query parameters → protobuf: text in, so each field's type says how to read it."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.contract.json_decoding import UnsupportedField, reader, shown
from chassis.contract.rules import Format, rule_of
from chassis.contract.timestamps import parse_timestamp
from chassis.errors import FieldViolation

MOST_PARAMETERS = 100

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_FLOATS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}

_NEVER_EMPTY = (Format.UUID, Format.EMAIL, Format.URL, Format.SCOPE)

ReadText = Callable[[str], Any]


class Parameters:
    """Fills the fields of one message type that may stand in a path or query."""

    def __init__(self, descriptor: Descriptor, names: frozenset[str]) -> None:
        fields = descriptor.fields_by_name
        self._readers = {name: _text_reader(fields[name]) for name in names}
        self._repeated = frozenset(name for name in names if fields[name].is_repeated)

    def from_path(self, message: Message, values: Mapping[str, str], found: list[FieldViolation]) -> None:
        """Set the fields that the path's variables name."""
        for name, text in values.items():
            self._set(message, name, text, found)

    def from_query(self, message: Message, query: str, found: list[FieldViolation]) -> None:
        """Set the fields that the query names. A list is the repetition of its name."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
        except ValueError:
            problem = f"must be URL-encoded UTF-8 of at most {MOST_PARAMETERS} parameters"
            found.append(FieldViolation("query", problem))
            return
        seen: set[str] = set()
        for name, text in pairs:
            if name not in self._readers:
                found.append(FieldViolation(shown(name), "is not a known parameter"))
            elif name in seen and name not in self._repeated:
                found.append(FieldViolation(name, "may be given only once"))
            else:
                self._set(message, name, text, found)
            seen.add(name)

    def _set(self, message: Message, name: str, text: str, found: list[FieldViolation]) -> None:
        try:
            value = self._readers[name](text)
            if name in self._repeated:
                getattr(message, name).append(value)
            elif isinstance(value, Message):
                getattr(message, name).CopyFrom(value)
            else:
                setattr(message, name, value)
        except ValueError as error:
            found.append(FieldViolation(name, str(error)))


def _text_reader(field: FieldDescriptor) -> ReadText:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp" and not field.is_repeated:
            return _read_time
        raise UnsupportedField(f"{field.full_name} cannot stand in a path or query")
    read = reader(field)
    if field.cpp_type in _FLOATS:
        return lambda text: read(float(text) if _NUMBER.fullmatch(text) else text)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return lambda text: read({"true": True, "false": False}.get(text, text))
    if rule_of(field).format in _NEVER_EMPTY:
        return lambda text: _not_empty(read(text))
    if field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES} or field.enum_type is not None:
        return read
    return lambda text: read(int(text) if _INTEGER.fullmatch(text) else text)


def _not_empty(value: Any) -> Any:
    # A message cannot tell an empty string from none; a parameter that is there says something.
    if value == "":
        raise ValueError("must not be empty")
    return value


def _read_time(text: str) -> Message:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise ValueError("must be an RFC 3339 time such as 2026-01-31T12:00:00Z") from None
