"""What templates find as data, from the JSON of a request."""

from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct


def data_of(given: Struct) -> Mapping[str, object]:
    """The object; its whole numbers are whole again, which a Struct does not know."""
    return {key: _plain(value) for key, value in MessageToDict(given).items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
