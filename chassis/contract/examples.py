"""An example of each message, made from what the contract says of its fields: always the same one."""

from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.identifiers import derived_id
from flownurture.options.v1 import example_pb2

# 2026-11-28T09:30:00Z, in milliseconds.
_MOMENT = 1_795_858_200_000


def example(descriptor: Descriptor) -> Message:
    """A message of the type with every field filled, but for maps, free forms, and strings that have no example."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None:
            _fill_message(message, field, field.message_type)
        elif field.is_repeated:
            getattr(message, field.name).append(_scalar(field))
        else:
            setattr(message, field.name, _scalar(field))
    return message


def _fill_message(message: Message, field: FieldDescriptor, kind: Descriptor) -> None:
    if kind.GetOptions().map_entry:
        return
    target = getattr(message, field.name)
    part = target.add() if field.is_repeated else target
    part.CopyFrom(_message(kind))
    text_format.Merge(_stated(field), part)


def _message(kind: Descriptor) -> Message:
    if kind.full_name == "google.protobuf.Timestamp":
        return Timestamp(seconds=_MOMENT // 1000)
    if kind.full_name.startswith("google.protobuf."):
        return GetMessageClass(kind)()
    return example(kind)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return next(value.number for value in field.enum_type.values if value.number)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(field)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b""
    return True if field.type == FieldDescriptor.TYPE_BOOL else 1


def _text(field: FieldDescriptor) -> str:
    stated = _stated(field)
    if not stated and field.name.removesuffix("s").split("_")[-1] == "id":
        # Called alike, an example's ids are alike: `contact_id` here is `contact_id` there.
        return str(derived_id(_MOMENT, field.name.removesuffix("s").encode()))
    return stated


def _stated(field: FieldDescriptor) -> str:
    stated: str = field.GetOptions().Extensions[example_pb2.example]
    return stated
