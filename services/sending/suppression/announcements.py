"""What the rest of the platform hears of the list."""

from collections.abc import Sequence
from uuid import UUID

from chassis.database import TenantSession
from flownurture.context.v1.context_pb2 import Actor
from flownurture.options.v1.access_pb2 import Role
from flownurture.sending.v1.messages_pb2 import SuppressionReason as ReasonMessage
from flownurture.suppression.v1.events_pb2 import (
    AddressesSuppressed,
    SuppressedAddress,
    SuppressionRemoved,
    SuppressionsLifted,
)
from services.sending.suppression_list import Suppressed


def announce_suppressed(session: TenantSession, entries: Sequence[Suppressed]) -> None:
    """Tell that these were added, if any were."""
    if entries:
        session.publish(AddressesSuppressed(addresses=map(_as_message, entries)))


def announce_lifted(session: TenantSession, entries: Sequence[Suppressed]) -> None:
    """Tell that these were taken off."""
    session.publish(SuppressionsLifted(addresses=map(_as_message, entries)))


def announce_removed(session: TenantSession, suppression_id: UUID, entry: Suppressed) -> None:
    """Tell the audit trail who took this off the list by hand."""
    context = session.context
    session.publish(
        SuppressionRemoved(
            suppression_id=str(suppression_id),
            digest=entry.digest,
            reason=_reason(entry),
            actor=Actor(kind=Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
            role=Role.ValueType(context.role.value),
            client_address=context.client_address,
            request_id=context.request_id,
        )
    )


def _as_message(entry: Suppressed) -> SuppressedAddress:
    return SuppressedAddress(
        digest=entry.digest,
        reason=_reason(entry),
        message_id=str(entry.message_id or ""),
    )


def _reason(entry: Suppressed) -> "ReasonMessage.ValueType":
    return ReasonMessage.Value(f"SUPPRESSION_REASON_{entry.reason.name}")
