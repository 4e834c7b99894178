"""The types of webhook events, as the contract has them, and what an endpoint says of those that it takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from chassis.contract import examples
from chassis.contract.comments import comments
from chassis.contract.json_encoding import encoder
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.options.v1 import webhook_pb2
from flownurture.webhooks.v1 import payloads_pb2

# Of payloads, oldest first. An endpoint keeps the one that it was made with until it asks for another.
VERSIONS = ("2026-11-28",)

ALL = "*"


@dataclass(frozen=True, slots=True)
class EventType:
    """A type: `name` is `<group>.<what happened>`, `message` describes its `data`."""

    name: str
    group: str
    description: str
    message: Descriptor


@cache
def type_of(message: Descriptor) -> str:
    """The type whose `data` a message is; empty for any other message."""
    name: str = message.GetOptions().Extensions[webhook_pb2.webhook].type
    return name


def _event_types() -> dict[str, EventType]:
    payloads = payloads_pb2.DESCRIPTOR.message_types_by_name.values()
    return {
        name: EventType(name, name.split(".")[0], comments().of(message), message)
        for message in payloads
        if (name := type_of(message))
    }


# In the order of the contract.
EVENT_TYPES: Mapping[str, EventType] = _event_types()

_PATTERNS = frozenset({ALL, *EVENT_TYPES, *(f"{known.group}.*" for known in EVENT_TYPES.values())})


def matches(patterns: Collection[str], event_type: str) -> bool:
    """Whether an endpoint that takes `*`, `contact.*` or `contact.created` takes this type."""
    return (
        ALL in patterns or event_type in patterns or f"{event_type.split('.', maxsplit=1)[0]}.*" in patterns
    )


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise InvalidRequest, naming each pattern that stands for no type that there is."""
    wrong = [
        FieldViolation(f"event_types[{index}]", "must be an event type, a group such as contact.*, or *")
        for index, pattern in enumerate(patterns)
        if pattern not in _PATTERNS
    ]
    if wrong:
        raise InvalidRequest(*wrong)


def example(event_type: str) -> dict[str, Any]:
    """The `data` of an event of this type, made from the contract; raises KeyError when there is no such type."""
    message = EVENT_TYPES[event_type].message
    return encoder(message)(examples.example(message))
