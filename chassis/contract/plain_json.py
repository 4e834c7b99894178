"""The JSON that google.protobuf.Struct and Value stand for."""

from typing import Any

from google.protobuf.struct_pb2 import Struct, Value


def plain_struct(struct: Struct) -> dict[str, Any]:
    """The JSON object that a Struct stands for; whole numbers are written as such."""
    return {name: plain_value(value) for name, value in struct.fields.items()}


def plain_value(value: Value) -> Any:
    """The JSON that a Value stands for."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain_struct(value.struct_value)
        case "list_value":
            return [plain_value(element) for element in value.list_value.values]
        case _:
            return None
