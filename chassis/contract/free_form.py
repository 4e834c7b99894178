"""JSON whose shape the contract leaves open (google.protobuf.Struct and Value): what it may hold, the service checks."""

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from chassis.errors import FieldViolation

# Objects and lists within each other.
_DEEPEST = 10


def fill_struct(message: Any, value: Any, path: str, found: list[FieldViolation]) -> None:
    """Fill a Struct from a JSON object."""
    if not isinstance(value, dict):
        found.append(FieldViolation(path, "must be an object"))
        return
    _fill_members(message, value, path, found, _DEEPEST)


def fill_value(message: Any, value: Any, path: str, found: list[FieldViolation]) -> None:
    """Fill a Value from any JSON."""
    _fill(message, value, path, found, _DEEPEST)


def _fill_members(
    struct: Struct, members: dict[str, Any], path: str, found: list[FieldViolation], left: int
) -> None:
    for name, member in members.items():
        _fill(struct.fields[name], member, path, found, left - 1)


def _fill(message: Value, value: Any, path: str, found: list[FieldViolation], left: int) -> None:
    if left < 0:
        found.append(FieldViolation(path, "is nested too deeply"))
    elif value is None:
        message.null_value = 0  # type: ignore[assignment]  # the stubs want the enum's own type
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        _fill_number(message, value, path, found)
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for element in value:
            _fill(message.list_value.values.add(), element, path, found, left - 1)
    else:
        message.struct_value.SetInParent()
        _fill_members(message.struct_value, value, path, found, left)


def _fill_number(message: Value, value: float, path: str, found: list[FieldViolation]) -> None:
    number = float(value)
    if math.isfinite(number):
        message.number_value = number
    else:
        found.append(FieldViolation(path, "must be a number"))
