"""What pixels and links were asked for: kept in memory for a moment and written in sets, so that nobody waits for it.

A process that is killed loses what came in its last moment, some hundredths of a second of it. When the database does not answer,
hits wait, up to a bound; what comes beyond it is not counted.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Self
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.logs import logger
from services.sending.tracking.agents import Kind
from services.sending.tracking.links import TrackedMessage

# Hits that come in between are written together.
_PAUSE_SECONDS = 0.025
_RETRY_SECONDS = 1.0
_MOST_IN_A_SET = 1_000
_MOST_WAITING = 50_000

HITS_LOST = Counter(
    "flownurture_tracking_hits_lost", "Opens and clicks that came faster than they were written."
)

_WRITE = text("""
    INSERT INTO engagement_hits (kind, campaign_id, message_id, link_number, bot_rule, occurred_at)
    SELECT * FROM unnest(
        CAST(:kinds AS text[]), CAST(:campaign_ids AS uuid[]), CAST(:message_ids AS uuid[]), CAST(:numbers AS int[]),
        CAST(:bot_rules AS text[]), CAST(:moments AS timestamptz[])
    )
""")


@dataclass(frozen=True, slots=True)
class Hit:
    """A pixel that was asked for, or a link that was followed."""

    kind: Kind
    message: TrackedMessage
    occurred_at: datetime
    # Of a click.
    link_number: int = 0
    # Why it is no person's, as far as the request alone tells.
    bot_rule: str = ""

    @classmethod
    def now(cls, kind: Kind, message: TrackedMessage, *, link_number: int = 0, bot_rule: str = "") -> Self:
        """One at this moment."""
        return cls(kind, message, datetime.now(UTC), link_number, bot_rule)


class Recorder:
    """Takes hits one by one and writes them in sets, until it is left; by then all are written."""

    def __init__(self, database: Database, *, most_waiting: int = _MOST_WAITING) -> None:
        self._database = database
        self._most_waiting = most_waiting
        self._waiting: deque[Hit] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        await self._writer

    def record(self, hit: Hit) -> None:
        """Take a hit; it will be written soon, unless too many wait already."""
        if len(self._waiting) >= self._most_waiting:
            HITS_LOST.inc()
            return
        self._waiting.append(hit)
        self._wake.set()

    async def _write_forever(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            if not self._closing:
                await asyncio.sleep(_PAUSE_SECONDS)
            self._wake.clear()
            while self._waiting:
                hits = list(islice(self._waiting, _MOST_IN_A_SET))
                await self._write(hits)
                for _ in hits:
                    self._waiting.popleft()

    async def _write(self, hits: Sequence[Hit]) -> None:
        by_organization: dict[UUID, list[Hit]] = defaultdict(list)
        for hit in hits:
            by_organization[hit.message.context.organization].append(hit)
        for theirs in by_organization.values():
            await self._write_set(theirs[0].message.context, theirs)

    async def _write_set(self, context: RequestContext, hits: Sequence[Hit]) -> None:
        while True:
            try:
                async with self._database.tenant_transaction(context) as session:
                    await write_hits(session, hits)
            except Unavailable:
                if self._closing:
                    HITS_LOST.inc(len(hits))
                    return
                logger().warning("hits_wait", hits=len(hits), exc_info=True)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


async def write_hits(session: TenantSession, hits: Sequence[Hit]) -> None:
    """Write hits of messages of the session's organization."""
    await session.execute(
        _WRITE,
        {
            "kinds": [hit.kind.value for hit in hits],
            "campaign_ids": [hit.message.mailing_id for hit in hits],
            "message_ids": [hit.message.message_id for hit in hits],
            "numbers": [hit.link_number for hit in hits],
            "bot_rules": [hit.bot_rule for hit in hits],
            "moments": [hit.occurred_at for hit in hits],
        },
    )
