"""What the audit trail is told of: who did what with a connection, from where. Identity writes it down."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.database import TenantSession
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.context.v1.context_pb2 import Actor
from flownurture.integrations.v1.events_pb2 import IntegrationActCommitted
from flownurture.options.v1.access_pb2 import Role

# What was and what is. The trail is kept for good, so nothing of it is secret, or about a person.
Facts: TypeAlias = Mapping[str, str | bool | Sequence[str] | None]


def tell(
    session: TenantSession,
    kind: AuditedAct.Kind.ValueType,
    target_id: UUID,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Have the trail say that the session's actor did this to the target, if the transaction commits."""
    context = session.context
    session.publish(
        IntegrationActCommitted(
            act=AuditedAct(
                kind=kind,
                target_id=str(target_id),
                before=_struct(before),
                after=_struct(after),
                actor=Actor(kind=Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
                role=Role.ValueType(context.role.value),
                client_address=context.client_address,
                request_id=context.request_id,
            )
        )
    )


def _struct(facts: Facts | None) -> Struct | None:
    return None if facts is None else ParseDict(dict(facts), Struct())
