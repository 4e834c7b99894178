"""How large the JSON of a request may be, from the bounds of its fields."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chassis.contract.bounds import rule_of
from chassis.contract.formats import CHECKS
from chassis.rpc.options import MAX_MESSAGE_BYTES

USUAL_LIMIT = 4 * 1024 * 1024  # bytes

_ESCAPED = (
    6  # bytes of a character written as \uXXXX; one beyond the first plane takes two of them in 4 bytes less
)
_SCALAR = 32  # bytes of a number, a time, a name of an enum's value
_DEEPEST = 8  # a message type that contains itself is as large as the usual limit


def largest_body(message: Descriptor) -> int:
    """Bytes that a body may have: what the largest good request needs, never less than is usual, never more than a call can carry."""
    return min(max(USUAL_LIMIT, _largest_message(message, 0)), _ESCAPED * MAX_MESSAGE_BYTES)


def _largest_message(message: Descriptor, depth: int) -> int:
    if depth > _DEEPEST:
        return USUAL_LIMIT
    return 2 + sum(len(field.name) + 8 + _largest_field(field, depth) for field in message.fields)


def _largest_field(field: FieldDescriptor, depth: int) -> int:
    rule = rule_of(field)
    if field.message_type is None:
        one = _largest_scalar(field)
    else:
        one = rule.max_bytes * _ESCAPED or _largest_message(field.message_type, depth + 1)
    return one * (max(1, rule.max_items) if field.is_repeated else 1)


def _largest_scalar(field: FieldDescriptor) -> int:
    rule = rule_of(field)
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        return _SCALAR
    _, longest, _ = CHECKS.get(rule.format, (None, 0, ""))
    return _ESCAPED * min(length for length in (rule.max_length, longest, USUAL_LIMIT) if length)
