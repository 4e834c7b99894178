"""How many tokens of language models count in an organization's billing cycle, and the plan's limit of them.

What a request may cost is set aside before a model is asked, and counted when it is known. What was set aside by a process that died meanwhile
is free again after a while.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import PermissionDenied, Unavailable
from chassis.identifiers import new_id
from services.integrations.tables import ai_tokens_set_aside, ai_usage

LIMIT = "ai_tokens_per_cycle"

# Longer than any request takes.
_SET_ASIDE_FOR = text("interval '10 minutes'")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('integrations.ai:' || :organization, 0))")
_COUNT = text("""
    INSERT INTO ai_usage AS used (cycle_started_at, tokens) VALUES (:cycle, :tokens)
    ON CONFLICT (organization_id, cycle_started_at) DO UPDATE SET tokens = used.tokens + excluded.tokens
""")


class TokenLimitReached(PermissionDenied):
    """What is left of the cycle's tokens does not suffice."""

    def __init__(self, limit: int, left: int, needed: int) -> None:
        super().__init__(
            f"The plan allows {limit:,} tokens in a billing cycle. {left:,} are left, and this may take {needed:,}.",
            reason="PLAN_LIMIT_EXCEEDED",
        )


@dataclass(slots=True)
class Spending:
    """What one request has cost so far."""

    tokens: int = 0

    def spend(self, tokens: int) -> None:
        """Add to it."""
        self.tokens += tokens


@asynccontextmanager
async def spending(database: Database, context: RequestContext, most: int) -> AsyncIterator[Spending]:
    """What is spent within the block counts, however that ends. Raises TokenLimitReached when `most` is more than is left, Unavailable."""
    cycle = context.cycle_started_at
    if cycle is None:
        raise Unavailable("The billing cycle cannot be told at the moment.")
    async with database.tenant_transaction(context) as session:
        held = await _set_aside(session, cycle, most)
    spent = Spending()
    try:
        yield spent
    finally:
        async with database.tenant_transaction(context) as session:
            await session.execute(delete(ai_tokens_set_aside).where(ai_tokens_set_aside.c.id == held))
            if spent.tokens:
                await session.execute(_COUNT, {"cycle": cycle, "tokens": spent.tokens})


async def counted(session: TenantSession, cycle_started_at: datetime) -> int:
    """How many tokens count in the cycle that started then."""
    found = select(ai_usage.c.tokens).where(ai_usage.c.cycle_started_at == cycle_started_at)
    return int(await session.scalar(found) or 0)


async def _set_aside(session: TenantSession, cycle: datetime, most: int) -> UUID:
    limit = session.context.limit(LIMIT)
    # Nobody else sets aside or counts until this is committed.
    await session.execute(_LOCK, {"organization": str(session.context.organization)})
    held = ai_tokens_set_aside.c
    await session.execute(delete(ai_tokens_set_aside).where(held.free_at <= func.now()))
    others = select(func.coalesce(func.sum(held.tokens), 0)).where(held.cycle_started_at == cycle)
    left = limit - await counted(session, cycle) - int(await session.scalar(others))
    if most > left:
        raise TokenLimitReached(limit, max(0, left), most)
    set_aside = new_id()
    await session.execute(
        insert(ai_tokens_set_aside).values(
            id=set_aside, cycle_started_at=cycle, tokens=most, free_at=func.now() + _SET_ASIDE_FOR
        )
    )
    return set_aside
