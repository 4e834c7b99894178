"""What may become of a message, and why an address gets none."""

from enum import StrEnum


class MessageStatus(StrEnum):
    """The life of a message: queued, decided on, handed over, settled."""

    QUEUED = "queued"
    # How a queued message is shown whose batch is approved; no row says it.
    APPROVED = "approved"
    VETOED = "vetoed"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    INDETERMINATE = "indeterminate"


class BatchStatus(StrEnum):
    """Who has to act on a batch next: the dispatch, suppression, delivery, nobody."""

    HELD = "held"
    REQUESTED = "requested"
    APPROVED = "approved"
    SETTLED = "settled"


class CampaignStatus(StrEnum):
    """The life of a campaign."""

    DRAFT = "draft"
    # Launched, and sent when its time has come.
    SCHEDULED = "scheduled"
    SENDING = "sending"
    # Nothing is fanned out or claimed; what had been goes on where it was.
    PAUSED = "paused"
    # Ended for good; it is over once what had not gone out is vetoed.
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"


class PauseReason(StrEnum):
    """Why the platform pauses campaigns by itself; where both hold, the first is told."""

    COMPLAINTS = "complaints"
    BOUNCES = "bounces"


class DomainStatus(StrEnum):
    """Whether mail may come from a domain: only from one that is verified."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"


class SuppressionReason(StrEnum):
    """Why an address gets no mail; where several hold, the first of these is told."""

    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    HARD_BOUNCE = "hard_bounce"
    MANUAL = "manual"
    # On no list: the contact was erased before the message was handed over.
    ERASED = "erased"
    # On no list: its campaign was cancelled.
    CANCELLED = "cancelled"
    # On no list: the address had as much marketing as the organization's sending policy allows.
    FREQUENCY_CAP = "frequency_cap"
