"""What a turn of a sync that did not come to its end means: whether it goes on, and when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import TypeAlias

from chassis import errors
from services.integrations.crm.errors import Broken, CrmError, QuotaExhausted, RateLimited, Unauthorized
from services.integrations.sync.settling import Busy

# Turns in a row that come no further, before a sync is given up: some ten minutes.
MOST_ATTEMPTS = 7
GAVE_UP = "It was begun again and again, and came no further."
# An upgrade is found that soon.
BELOW_PLAN_PAUSE = timedelta(minutes=4)
BELOW_PLAN = "The plan does not include connections to CRMs."
_BUSY = "Contacts were changed as often as they were read."
_OUR_FAULT = "It failed for a reason of the platform's own."
_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(minutes=5)
_SHORTEST_WAIT = timedelta(seconds=1)
# Whatever a CRM says of itself.
_LONGEST_WAIT = timedelta(days=1)


class BelowPlan(Exception):
    """The organization's plan does not include CRMs."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It goes on after `pause`. `counts`: the turn was of no use."""

    pause: timedelta
    why: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """It does not go on. `refused`: nor does any other, until somebody connects the account again."""

    why: str
    refused: bool = False


Verdict: TypeAlias = Wait | Failed


def verdict(error: Exception, attempts: int) -> Verdict:
    """What an error means that ended a turn, the `attempts`-th in a row that came no further."""
    if (told := _told_when(error)) is not None:
        return told
    match error:
        case Unauthorized():
            return Failed(str(error), refused=True)
        case Busy():
            return _again(_BUSY, attempts)
        case Broken() | errors.Unavailable() | errors.DeadlineExceeded() | errors.RateLimited():
            return _again(str(error), attempts)
        case CrmError() | errors.Conflict():
            return Failed(str(error))
    return Failed(_OUR_FAULT)


def is_ours(error: Exception) -> bool:
    """Whether it is none that a sync may meet with, but a mistake of ours."""
    known = (BelowPlan, CrmError, Busy, errors.Conflict, errors.Unavailable)
    return not isinstance(error, (*known, errors.DeadlineExceeded, errors.RateLimited))


def jittered(pause: timedelta) -> timedelta:
    """It, give or take a tenth, so that what began together does not stay together."""
    return pause * uniform(0.9, 1.1)  # noqa: S311 - no secret


def _told_when(error: Exception) -> Wait | None:
    """Until when, where that is known; the turn was of no use, but it is nobody's fault."""
    match error:
        case BelowPlan():
            return Wait(jittered(BELOW_PLAN_PAUSE), BELOW_PLAN)
        case RateLimited():
            return Wait(_bounded(timedelta(seconds=min(error.retry_after, 1e6))), str(error))
        case QuotaExhausted():
            return Wait(_bounded(error.until - datetime.now(UTC)), str(error))
    return None


def _again(why: str, attempts: int) -> Verdict:
    if attempts >= MOST_ATTEMPTS:
        return Failed(why)
    return Wait(jittered(min(_FIRST_PAUSE * 2 ** (attempts - 1), _LONGEST_PAUSE)), why, counts=True)


def _bounded(wait: timedelta) -> timedelta:
    # A little later than is asked for: whoever waits with us does not come at the same moment.
    return min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT) * uniform(1.0, 1.1)  # noqa: S311
