"""Events as the contract describes them: the subject of each type, and the type of each name."""

from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from flownurture.options.v1 import event_pb2


def subject_of(event: type[Message]) -> str:
    """The NATS subject on which events of this type are published; raises LookupError for what is no event."""
    return _subject(event.DESCRIPTOR)


@cache
def _subject(event: Descriptor) -> str:
    subject: str = event.GetOptions().Extensions[event_pb2.subject]
    if not subject:
        raise LookupError(f"{event.full_name} is no event: it has no subject option")
    return subject


@cache
def message_type(full_name: str) -> type[Message]:
    """The class of a message type that this process has imported; raises LookupError for any other name."""
    try:
        return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))
    except KeyError:
        raise LookupError(f"unknown message type {full_name!r}") from None
