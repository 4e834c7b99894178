"""What somebody did that the audit trail tells of, as a service says it in an event of its own domain. Identity writes it down."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.context import RequestContext
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.options.v1.access_pb2 import Role

# What was and what is. The trail is kept for good, so nothing of it is secret, or about a person.
Facts: TypeAlias = Mapping[str, str | bool | Sequence[str] | None]


def act_of(
    context: RequestContext,
    kind: AuditedAct.Kind.ValueType,
    target_id: UUID,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
) -> AuditedAct:
    """That the context's actor does this to the target. Published in the transaction in which it is done."""
    return AuditedAct(
        kind=kind,
        target_id=str(target_id),
        before=_struct(before),
        after=_struct(after),
        actor=Actor(kind=Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
        role=Role.ValueType(context.role.value),
        client_address=context.client_address,
        request_id=context.request_id,
    )


def _struct(facts: Facts | None) -> Struct | None:
    return None if facts is None else ParseDict(dict(facts), Struct())
