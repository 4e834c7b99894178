"""What the audit trail is told of: who did what with a connection, from where. Identity writes it down."""

from uuid import UUID

from chassis.audited_acts import Facts, act_of
from chassis.database import TenantSession
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.integrations.v1.events_pb2 import IntegrationActCommitted


def tell(
    session: TenantSession,
    kind: AuditedAct.Kind.ValueType,
    target_id: UUID,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Have the trail say that the session's actor did this to the target, if the transaction commits."""
    session.publish(
        IntegrationActCommitted(act=act_of(session.context, kind, target_id, before=before, after=after))
    )
