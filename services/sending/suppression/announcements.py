"""What the rest of the platform hears of the list."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import TenantSession
from flownurture.context.v1.context_pb2 import Actor
from flownurture.options.v1.access_pb2 import Role
from flownurture.sending.v1.messages_pb2 import SuppressionReason as ReasonMessage
from flownurture.suppression.v1.events_pb2 import (
    AddressesSuppressed,
    SuppressedAddress,
    SuppressionRemoved,
    SuppressionsLifted,
    SuppressionsRolledBack,
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


def announce_rolled_back(
    session: TenantSession,
    entries: int,
    *,
    rule: str | None,
    source: str | None,
    reporter: str | None,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Tell the audit trail that an operator took so many off the list, and as what mistake."""
    context = session.context
    session.publish(
        SuppressionsRolledBack(
            entries=entries,
            rule=rule or "",
            source=source or "",
            reporter=reporter or "",
            since=_timestamp(since),
            until=_timestamp(until),
            actor=Actor(kind=Actor.Kind.ValueType(context.actor_kind.value), id=context.actor_id),
            request_id=context.request_id,
        )
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _as_message(entry: Suppressed) -> SuppressedAddress:
    return SuppressedAddress(
        digest=entry.digest,
        reason=_reason(entry),
        message_id=str(entry.message_id or ""),
    )


def _reason(entry: Suppressed) -> "ReasonMessage.ValueType":
    return ReasonMessage.Value(f"SUPPRESSION_REASON_{entry.reason.name}")
