"""The `field` option of the contract as plain values: what one request field may hold."""

from dataclasses import dataclass
from enum import Enum
from functools import cache

from google.protobuf.descriptor import FieldDescriptor

from flownurture.options.v1 import field_pb2


class Format(Enum):
    """The shape of a string; the numbers are those of `flownurture.options.v1.Format`."""

    ANY = 0
    UUID = 1
    EMAIL = 2
    URL = 3
    SCOPE = 4
    PAGE_TOKEN = 5
    LINK_TOKEN = 6


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The bounds of one field. Zero, or None for a number's range, means that there is no such bound."""

    required: bool = False
    min_length: int = 0
    max_length: int = 0
    minimum: int | None = None
    maximum: int | None = None
    max_items: int = 0
    format: Format = Format.ANY
    max_bytes: int = 0
    single_line: bool = False
    from_header: str = ""


@cache
def rule_of(field: FieldDescriptor) -> FieldRule:
    """The rule of a field; one that bounds nothing where the contract says nothing."""
    options = field.GetOptions()
    if not options.HasExtension(field_pb2.field):
        return FieldRule()
    stated = options.Extensions[field_pb2.field]
    return FieldRule(
        required=stated.required,
        min_length=stated.min_length,
        max_length=stated.max_length,
        minimum=stated.min or None,
        maximum=stated.max or None,
        max_items=stated.max_items,
        format=Format(stated.format),
        max_bytes=stated.max_bytes,
        single_line=stated.single_line,
        from_header=stated.from_header,
    )
