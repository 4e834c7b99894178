"""What an attempt means for its delivery: that it is there, that it comes again and when, or that it is given up."""

import random
import tomllib
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat

# RFC 9110 §15.5.11: it is gone, and likely for good.
GONE = 410
_ASKS_TO_WAIT = (429, 503)


class Schedule(BaseModel):
    """`schedule.toml`: seconds, and the jitter as a share of each pause."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pauses: tuple[PositiveFloat, ...]
    jitter: NonNegativeFloat
    longest_retry_after: PositiveFloat
    disabled_after: PositiveFloat

    @property
    def attempts(self) -> int:
        """How many attempts a delivery has, the first one counted."""
        return len(self.pauses) + 1


@cache
def schedule() -> Schedule:
    """The published one."""
    return Schedule(**tomllib.loads((resources.files(__package__) / "schedule.toml").read_text("utf-8")))


class Status(StrEnum):
    """What became of a delivery, by its name in the database."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Verdict(NamedTuple):
    """What is to become of a delivery; `due_at` of a pending one."""

    status: Status
    due_at: datetime | None = None
    # The endpoint asked for this: nothing goes to it until then.
    endpoint_rests: bool = False


def is_success(status_code: int | None) -> bool:
    """Only a 2xx says that the event was taken."""
    return status_code is not None and 200 <= status_code < 300


def verdict(
    *,
    status_code: int | None,
    retry_after: float | None,
    scheduled: int,
    now: datetime,
    spread: float | None = None,
) -> Verdict:
    """Of an attempt that came after `scheduled` others; `spread` from -1 to 1 is where within its jitter the next one lies."""
    if is_success(status_code):
        return Verdict(Status.DELIVERED)
    plan = schedule()
    if status_code == GONE or scheduled + 1 >= plan.attempts:
        return Verdict(Status.FAILED)
    swing = random.uniform(-1, 1) if spread is None else spread  # noqa: S311 - no secret
    pause = plan.pauses[scheduled] * (1 + plan.jitter * swing)
    asked = min(retry_after or 0.0, plan.longest_retry_after)
    return Verdict(
        Status.PENDING,
        now + timedelta(seconds=max(pause, asked)),
        endpoint_rests=asked > 0 and status_code in _ASKS_TO_WAIT,
    )
