"""What is claimed and must not be begun any more: its campaign was paused or cancelled, quiet hours have begun, its
address was suppressed, or its organization stands still, meanwhile.

A claim holds what the list and the campaign said when it was made. This looks again, several times a second, for as long as a batch
is in hand; what is recalled is given back with its batch, and the next claim decides on it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.standstill import STANDS_STILL
from services.sending.categories import RULES
from services.sending.delivery.claims import Claimed
from services.sending.quiet_hours import IS_QUIET
from services.sending.statuses import SuppressionReason

_EVERY_SECONDS = 0.2
# An addition to the list is dated before it commits.
_OVERLAP_SECONDS = 10.0

_HALTED = text(f"""
    SELECT id FROM campaigns WHERE id = ANY(CAST(:campaign_ids AS uuid[]))
      AND (status IN ('paused', 'cancelled') OR EXISTS (SELECT FROM sending_policies WHERE {IS_QUIET}))
""")  # noqa: S608 - of our own words alone
_STANDS_STILL = text(f"SELECT {STANDS_STILL}")
_SUPPRESSED = text("SELECT email_digest, reason FROM suppressions WHERE reaffirmed_at > now() - :age")


@dataclass(slots=True)
class _Watch:
    """What of an organization is in hand, and what has been recalled of it."""

    context: RequestContext
    # By campaign, None for single messages: since when each of its batches is in hand.
    since: dict[UUID | None, list[float]] = field(default_factory=lambda: defaultdict(list))
    halted: frozenset[UUID] = frozenset()
    stands_still: bool = False
    suppressed: Mapping[bytes, frozenset[SuppressionReason]] = field(default_factory=dict)


class Recalls:
    """Looks at the campaigns and the lists of the organizations whose batches are in hand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watches: dict[UUID, _Watch] = {}

    @contextmanager
    def watching(self, context: RequestContext, campaign_ids: Collection[UUID | None]) -> Iterator[None]:
        """Look after what was claimed of campaigns, or of none, until it is given back."""
        watch = self._watches.setdefault(context.organization, _Watch(context))
        since = monotonic()
        for campaign_id in campaign_ids:
            watch.since[campaign_id].append(since)
        try:
            yield
        finally:
            for campaign_id in campaign_ids:
                watch.since[campaign_id].remove(since)
                if not watch.since[campaign_id]:
                    del watch.since[campaign_id]
            if not watch.since:
                self._watches.pop(context.organization, None)

    def holds(self, context: RequestContext, message: Claimed) -> bool:
        """Whether a message that was claimed is recalled."""
        watch = self._watches[context.organization]
        if watch.stands_still or message.campaign_id in watch.halted:
            return True
        reasons = watch.suppressed.get(message.digest, frozenset())
        return bool(reasons - RULES[message.category].passes_over)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.round()
            except Unavailable:
                # Nothing can be paused or suppressed either.
                logger().warning("recalls_wait")

    async def round(self) -> None:
        """Look once at everything that is in hand. Raises Unavailable."""
        for watch in list(self._watches.values()):
            # All of it may have been given back while the others were looked at.
            if watch.since:
                await self._look(watch)

    async def _look(self, watch: _Watch) -> None:
        age = monotonic() - min(min(since) for since in watch.since.values()) + _OVERLAP_SECONDS
        campaign_ids = [campaign_id for campaign_id in watch.since if campaign_id is not None]
        suppressed: dict[bytes, frozenset[SuppressionReason]] = defaultdict(frozenset)
        async with self._database.tenant_transaction(watch.context, read_only=True) as session:
            halted = await session.execute(_HALTED, {"campaign_ids": campaign_ids})
            watch.halted = frozenset(halted.scalars())
            watch.stands_still = await session.scalar(_STANDS_STILL)
            for row in await session.execute(_SUPPRESSED, {"age": timedelta(seconds=age)}):
                suppressed[bytes(row.email_digest)] |= {SuppressionReason(row.reason)}
        watch.suppressed = suppressed
