"""How the values of an enum are called in JSON."""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor, EnumValueDescriptor

from flownurture.options.v1 import json_pb2


@cache
def json_names(enum: EnumDescriptor) -> dict[int, str]:
    """The JSON name of each number, without the zero value: in JSON what is unspecified is null, or absent."""
    return {value.number: _json_name(value) for value in enum.values if value.number != 0}


def _json_name(value: EnumValueDescriptor) -> str:
    stated: str = value.GetOptions().Extensions[json_pb2.json_value]
    return stated or value.name.removeprefix(_prefix(value.type)).lower()


def _prefix(enum: EnumDescriptor) -> str:
    """What every value's name begins with: the zero value's name less its last word."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
