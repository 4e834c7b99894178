"""How fast a campaign may go: evenly over the hour, batch by batch.

A batch takes the time that its messages are worth, and the next one may go when that is over. All that has to be remembered is that
moment, so that replicas agree and a restart forgets nothing. A look that comes late makes up for at most two seconds: what could
not go for longer is not made up for by a burst. So any stretch of time sees what it is worth, and at most two seconds' and one
batch's messages more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LARGEST_BATCH = 250
MOST_LATE = timedelta(seconds=2)

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Throttle:
    """So many messages an hour."""

    messages_per_hour: int

    @property
    def largest_batch(self) -> int:
        """What a minute allows, and one at least."""
        return max(1, self.messages_per_hour // 60)

    def admit(self, sizes: Iterable[int], *, free_at: datetime, now: datetime) -> tuple[int, datetime]:
        """How many of these batches, in their order, may go now that the one before was over at `free_at`; and when the next may."""
        moment = max(free_at, now - MOST_LATE)
        admitted = 0
        for size in sizes:
            if moment > now:
                break
            moment += _HOUR * size / self.messages_per_hour
            admitted += 1
        return admitted, moment


def batch_size(messages_per_hour: int | None, largest: int = LARGEST_BATCH) -> int:
    """How many messages a campaign that goes so fast, or as fast as can be, has in a batch."""
    return min(largest, Throttle(messages_per_hour).largest_batch) if messages_per_hour else largest
