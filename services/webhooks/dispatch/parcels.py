"""What waits in a lane: a delivery with the event that it brings."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.webhooks.dispatch.verdicts import Verdict


class Parcel(NamedTuple):
    """One delivery. `data` is the event's JSON; `scheduled` counts the attempts since the delivery was last begun, `attempts` all."""

    delivery_id: UUID
    event_id: UUID
    event_type: str
    data: bytes
    sequence: int
    occurred_at: datetime
    scheduled: int = 0
    attempts: int = 0


class Attempt(NamedTuple):
    """One post of it, as it is written down. `outcome` is delivered, answered (with no 2xx), or why there was no answer."""

    id: UUID
    attempted_at: datetime
    outcome: str
    duration_ms: int
    address: str = ""
    status_code: int | None = None
    error: str = ""
    response_body: str = ""
    retry_after: float | None = None


class Entry(NamedTuple):
    """What the journal writes down: the attempt, and what it means for the delivery."""

    endpoint_id: UUID
    delivery_id: UUID
    attempt: Attempt
    verdict: Verdict
