"""Hypothesis strategies for the messages of the contract: any that protobuf and JSON can both hold."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_FLOAT = st.floats(allow_nan=False, allow_infinity=False, width=32)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_DOUBLE: _FLOAT,
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
}
_TIMES = st.builds(
    Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999)
)

# Without null, which the tests take for not given; and a whole number is written as one, which has no negative zero.
_FREE_FORM = st.recursive(
    st.booleans() | _FLOAT.map(lambda number: number + 0.0) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_STRUCTS = st.dictionaries(_TEXT, _FREE_FORM, max_size=4).map(lambda members: ParseDict(members, Struct()))
_WELL_KNOWN = {
    "google.protobuf.Timestamp": _TIMES,
    "google.protobuf.Struct": _STRUCTS,
    "google.protobuf.Value": _FREE_FORM.map(
        lambda value: ParseDict(value, Value())  # type: ignore[arg-type]  # it takes any JSON
    ),
}

# JSON of any shape, with the contract's own names among the keys so that it gets past the first check.
NAMES = ["email", "name", "scopes", "page_size", "audience", "list_ids", "expires_at", "reason", "html", "to"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _FLOAT | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | _TEXT, inner, max_size=5)
    ),
    max_leaves=12,
)


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of a type, with any of their fields set."""
    fields = {field.name: _values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda set_: _one_of_each(descriptor, set_))


def _one_of_each(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    """A message in which the later of two alternatives is the one that is set, as protobuf has it."""
    return GetMessageClass(descriptor)(**values)


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    one = _one(field)
    # Of messages, which may contain their like again, fewer.
    most = 2 if field.message_type is not None else 4
    return st.lists(one, max_size=most) if field.is_repeated else one


def _one(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.message_type
    if kind is not None:
        return _WELL_KNOWN[kind.full_name] if kind.full_name in _WELL_KNOWN else _deferred(kind)
    if field.enum_type is not None:
        # Where it tells whether something is given, as in a list, JSON has no name for what is none of its values.
        has_nothing = not field.is_repeated and not field.has_presence
        numbers = [value.number for value in field.enum_type.values if value.number or has_nothing]
        return st.sampled_from(numbers)
    return _SCALARS[field.type]


def _deferred(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    # A message type may contain itself.
    return st.deferred(lambda: messages(descriptor))
