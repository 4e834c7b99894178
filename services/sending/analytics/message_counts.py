"""What became of an organization's messages, hour by hour, counted as it is told."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending.statuses import MessageStatus

# In one order, so that two of them cannot wait for each other in a circle.
_COUNT = text("""
    INSERT INTO message_counts AS held (hour, status, messages)
    SELECT hour, status, number
    FROM unnest(CAST(:hours AS timestamptz[]), CAST(:statuses AS text[]), CAST(:numbers AS int[]))
        AS given (hour, status, number)
    ORDER BY hour, status
    ON CONFLICT (organization_id, hour, status) DO UPDATE SET messages = held.messages + excluded.messages
""")


Outcome: TypeAlias = tuple[datetime, MessageStatus]


async def count_messages(
    session: TenantSession, outcomes: Iterable[Outcome], superseded: Iterable[Outcome] = ()
) -> None:
    """Count messages by when they were settled, in UTC, and how. What is superseded by it counts no more.

    What supersedes may be told first: for a moment, then, there is one less than none.
    """
    counts = Counter(map(_hour, outcomes))
    counts.subtract(map(_hour, superseded))
    if counts:
        await session.execute(
            _COUNT,
            {
                "hours": [hour for hour, _ in counts],
                "statuses": [status.value for _, status in counts],
                "numbers": list(counts.values()),
            },
        )


def _hour(outcome: Outcome) -> Outcome:
    moment, status = outcome
    return moment.replace(minute=0, second=0, microsecond=0), status
