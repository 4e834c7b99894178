"""Statuses and reasons as the contract writes them."""

from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from services.sending.statuses import CampaignStatus, MessageStatus, PauseReason, SuppressionReason


def message_status(status: str) -> "messages_pb2.MessageStatus.ValueType":
    """The contract's value for a status as it is shown."""
    return messages_pb2.MessageStatus.Value(f"MESSAGE_STATUS_{status.upper()}")


def campaign_status(status: str) -> "campaigns_pb2.CampaignStatus.ValueType":
    """The contract's value for a campaign's status."""
    return campaigns_pb2.CampaignStatus.Value(f"CAMPAIGN_STATUS_{CampaignStatus(status).name}")


def pause_reason(reason: str) -> "campaigns_pb2.PauseReason.ValueType":
    """The contract's value for a reason, unspecified for none."""
    return campaigns_pb2.PauseReason.Value(
        f"PAUSE_REASON_{PauseReason(reason).name if reason else 'UNSPECIFIED'}"
    )


def suppression_reason(reason: str) -> "messages_pb2.SuppressionReason.ValueType":
    """The contract's value for a reason."""
    return messages_pb2.SuppressionReason.Value(f"SUPPRESSION_REASON_{SuppressionReason(reason).name}")


def status_filter(field: str, value: "messages_pb2.MessageStatus.ValueType") -> MessageStatus | None:
    """The status that a list is narrowed to, None when it is not. Raises InvalidRequest for an unknown number."""
    if value == messages_pb2.MESSAGE_STATUS_UNSPECIFIED:
        return None
    try:
        return MessageStatus[messages_pb2.MessageStatus.Name(value).removeprefix("MESSAGE_STATUS_")]
    except (KeyError, ValueError):
        raise InvalidRequest(FieldViolation(field, "is not a status")) from None


def reason_filter(field: str, value: "messages_pb2.SuppressionReason.ValueType") -> SuppressionReason | None:
    """The reason that a list is narrowed to, None when it is not. Raises InvalidRequest for an unknown number."""
    if value == messages_pb2.SUPPRESSION_REASON_UNSPECIFIED:
        return None
    try:
        return SuppressionReason[
            messages_pb2.SuppressionReason.Name(value).removeprefix("SUPPRESSION_REASON_")
        ]
    except (KeyError, ValueError):
        raise InvalidRequest(FieldViolation(field, "is not a reason")) from None
