"""How many e-mails count in an organization's billing cycle, and the plan's limit of them.

An e-mail counts when it is accepted for sending: a single message when it is queued, a campaign's when its page is made. What
is vetoed is given back to the cycle that it was taken from. One row a cycle is moved and held until the transaction ends, so
that two can never pass the limit together: whoever sees it passed takes back what it wrote. What categories of mail do not count,
`categories.py` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import select, text

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import PermissionDenied, Unavailable
from services.sending.tables import email_usage

_COUNT = text("""
    INSERT INTO email_usage (cycle_started_at, emails) VALUES (:cycle, :number)
    ON CONFLICT (organization_id, cycle_started_at)
    DO UPDATE SET emails = email_usage.emails + excluded.emails
    RETURNING emails
""")
# A part of a statement, as the driver takes it: counts, of the rows that are `wanted`, as many as the plan has `places` for. Of no
# cycle, it counts none and answers no row.
TAKE_WANTED = """
    INSERT INTO email_usage AS used (cycle_started_at, emails)
    SELECT %(cycle)s::timestamptz, least(count(*), %(limit)s::bigint) FROM wanted
    HAVING count(*) > 0 AND %(cycle)s::timestamptz IS NOT NULL
    ON CONFLICT (organization_id, cycle_started_at)
    DO UPDATE SET emails = used.emails + greatest(0, least(excluded.emails, %(limit)s::bigint - used.emails))
    RETURNING new.emails - coalesce(old.emails, 0) AS places
"""
_GIVE_BACK = text("""
    UPDATE email_usage SET emails = email_usage.emails - vetoed.emails
    FROM (
        SELECT batches.usage_cycle, sum(given.number) AS emails
        FROM unnest(CAST(:batch_ids AS uuid[]), CAST(:numbers AS integer[])) AS given (batch_id, number)
        JOIN batches ON batches.id = given.batch_id
        GROUP BY batches.usage_cycle
    ) AS vetoed
    WHERE email_usage.cycle_started_at = vetoed.usage_cycle
""")


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many e-mails may count in the cycle that started then."""

    limit: int
    cycle_started_at: datetime


class Allowances(Protocol):
    """Who knows what an organization's plan allows at this moment."""

    async def of(self, context: RequestContext) -> Allowance:
        """The allowance of the context's organization; raises Unavailable when it cannot be told."""


class EmailLimitReached(PermissionDenied):
    """The e-mails of this billing cycle are used up."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The plan allows {limit:,} e-mails in a billing cycle, and they are used up.",
            reason="PLAN_LIMIT_EXCEEDED",
        )


def allowance_of(context: RequestContext) -> Allowance:
    """What the plan allows whoever calls. Raises Unavailable when their credential did not tell."""
    if context.cycle_started_at is None:
        raise Unavailable("The billing cycle cannot be told at the moment.")
    return Allowance(context.limit("emails_per_cycle"), context.cycle_started_at)


async def places_left(session: TenantSession, allowance: Allowance) -> int:
    """How many e-mails may still count, as long as nobody else takes any."""
    return max(0, allowance.limit - await counted(session, allowance.cycle_started_at))


async def take(session: TenantSession, allowance: Allowance, number: int) -> None:
    """Count e-mails. Raises EmailLimitReached, and so rolls back."""
    # None is never too many: the plan may have become smaller.
    if number and await _count(session, allowance.cycle_started_at, number) > allowance.limit:
        raise EmailLimitReached(allowance.limit)


async def give_back(session: TenantSession, batch_id: UUID, number: int) -> None:
    """Uncount e-mails of a batch that were vetoed, in the cycle in which they were taken."""
    if number:
        await give_back_all(session, {batch_id: number})


async def give_back_all(session: TenantSession, numbers: Mapping[UUID, int]) -> None:
    """Uncount e-mails of several batches."""
    await session.execute(_GIVE_BACK, {"batch_ids": list(numbers), "numbers": list(numbers.values())})


async def counted(session: TenantSession, cycle_started_at: datetime) -> int:
    """How many e-mails count in the cycle that started then."""
    statement = select(email_usage.c.emails).where(email_usage.c.cycle_started_at == cycle_started_at)
    return int(await session.scalar(statement) or 0)


async def _count(session: TenantSession, cycle: datetime, number: int) -> int:
    return int(await session.scalar(_COUNT, {"cycle": cycle, "number": number}))
