"""The relay: carries committed events from the outbox to NATS, each at least once, none forgotten."""

import asyncio
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import metrics
from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.logs import logger
from chassis.scheduler import Periodic

BATCH = 200
KEPT = timedelta(days=7)
# Finds what another process wrote for this domain, or wrote and died before it published.
_POLL_SECONDS = 5.0
_ACKNOWLEDGED_WITHIN_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0

_TAKE = text("""
    SELECT organization_id, id, subject, envelope FROM outbox
    WHERE domain = :domain AND published_at IS NULL
    ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
""")
_MARK = text("""
    UPDATE outbox SET published_at = now()
    FROM unnest(CAST(:organization_ids AS uuid[]), CAST(:ids AS uuid[])) AS sent (organization_id, id)
    WHERE outbox.organization_id = sent.organization_id AND outbox.id = sent.id
""")
_PRUNE = text(
    "DELETE FROM outbox WHERE domain = :domain AND published_at < now() - :kept AND created_at < now() - :kept"
)
_REPLAY = text(
    "UPDATE outbox SET published_at = NULL WHERE created_at >= :since AND published_at IS NOT NULL"
)


class _Row(NamedTuple):
    organization_id: UUID
    id: UUID
    subject: str
    envelope: bytes


class Relay:
    """Publishes the outbox rows of one domain, woken by commits in this process and by the clock.

    Rows are taken in order of their id and published side by side; the id is the message's, so that JetStream drops
    what a crash between publishing and marking makes it publish again. Published rows stay for replay and go after
    a week.
    """

    def __init__(self, database: RoleDatabase, bus: EventBus, domain: str, wake: asyncio.Event) -> None:
        self._database = database
        self._bus = bus
        self._domain = domain
        self._wake = wake

    async def run(self) -> None:
        """Run until cancelled; raises BusClosed when the connection to NATS is gone for good."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_forever())
            group.create_task(Periodic(timedelta(hours=1), self.prune).run())

    async def publish_batch(self) -> int:
        """Publish up to `BATCH` waiting rows; answers how many went. Raises what kept the others from going."""
        async with self._database.transaction() as connection:
            parameters = {"domain": self._domain, "batch": BATCH}
            rows = [_Row._make(row) for row in await connection.execute(_TAKE, parameters)]
            results = await asyncio.gather(*map(self._publish, rows), return_exceptions=True)
            failures = [result for result in results if isinstance(result, BaseException)]
            sent = [row for row, result in zip(rows, results, strict=True) if result is None]
            await _mark(connection, sent)
        metrics.EVENTS_PUBLISHED.labels(self._domain).inc(len(sent))
        if failures:
            raise failures[0]
        return len(sent)

    async def prune(self) -> None:
        """Delete rows that were published more than `KEPT` ago."""
        async with self._database.transaction() as connection:
            await connection.execute(_PRUNE, {"domain": self._domain, "kept": KEPT})

    async def _publish_forever(self) -> None:
        failures = 0
        while True:
            await self._bus.wait_connected()
            self._wake.clear()
            try:
                while await self.publish_batch() == BATCH:
                    pass
            except (NatsError, JetStreamError, TimeoutError, Unavailable) as error:
                failures += 1
                logger().warning("outbox_waits", error=str(error) or type(error).__name__)
                await asyncio.sleep(min(0.1 * 2**failures, _LONGEST_PAUSE_SECONDS))
            else:
                failures = 0
                await self._woken()

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _publish(self, row: _Row) -> None:
        await self._bus.jetstream.publish(
            row.subject,
            row.envelope,
            timeout=_ACKNOWLEDGED_WITHIN_SECONDS,
            headers={"Nats-Msg-Id": str(row.id)},
        )


async def replay(database: RoleDatabase, since: datetime) -> int:
    """Have the relays publish again what was written since then, after a stream was lost; answers how many rows.

    Readers that have seen an event drop it by its inbox row or by the state of its rows.
    """
    async with database.transaction() as connection:
        return (await connection.execute(_REPLAY, {"since": since})).rowcount


async def _mark(connection: AsyncConnection, sent: list[_Row]) -> None:
    if sent:
        await connection.execute(
            _MARK,
            {"organization_ids": [row.organization_id for row in sent], "ids": [row.id for row in sent]},
        )
