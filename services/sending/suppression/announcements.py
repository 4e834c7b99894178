"""What the rest of the platform hears of the list."""

from collections.abc import Sequence

from chassis.database import TenantSession
from flownurture.sending.v1.messages_pb2 import SuppressionReason as ReasonMessage
from flownurture.suppression.v1.events_pb2 import (
    AddressesSuppressed,
    SuppressedAddress,
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


def _as_message(entry: Suppressed) -> SuppressedAddress:
    return SuppressedAddress(
        digest=entry.digest,
        reason=ReasonMessage.Value(f"SUPPRESSION_REASON_{entry.reason.name}"),
        message_id=str(entry.message_id or ""),
    )
