"""Attempts into the database: of an organization all that ended while its last set was written, in one transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.logs import logger
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from services.webhooks.dispatch.parcels import Entry
from services.webhooks.dispatch.verdicts import GONE, Status, is_success, schedule

# Organizations whose sets are written at a time.
_AT_A_TIME = 4
_MOST_OF_A_SET = 500
_AFTER_FAILURE_SECONDS = 0.5

# What is written again, as nobody could tell whether it was committed, is there once. What was cancelled or delivered meanwhile stays so,
# and what was answered to what was cancelled is not kept: it may be about somebody who has been erased.
_WRITE = """
    WITH given AS (
        SELECT * FROM unnest(
            %s::uuid[], %s::uuid[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::integer[], %s::text[],
            %s::timestamptz[], %s::text[], %s::timestamptz[]
        ) AS given (delivery_id, id, outcome, status_code, error, address, duration_ms, response_body, attempted_at, status, due_at)
        WHERE NOT EXISTS (SELECT FROM attempts WHERE attempts.delivery_id = given.delivery_id AND attempts.id = given.id)
    ), counted AS (
        UPDATE deliveries SET
            attempts = deliveries.attempts + 1,
            scheduled = deliveries.scheduled + 1,
            last_status_code = given.status_code,
            status = CASE WHEN deliveries.status IN ('cancelled', 'delivered') THEN deliveries.status ELSE given.status END,
            due_at = CASE WHEN deliveries.status IN ('cancelled', 'delivered') THEN NULL ELSE given.due_at END,
            settled_at = CASE WHEN given.status = 'pending' THEN deliveries.settled_at ELSE now() END
        FROM given WHERE deliveries.id = given.delivery_id
        RETURNING deliveries.id, deliveries.attempts, deliveries.status = 'cancelled' AS cancelled
    )
    INSERT INTO attempts (delivery_id, id, number, outcome, status_code, error, address, duration_ms, response_body, attempted_at)
    SELECT delivery_id, given.id, counted.attempts, outcome, status_code, error, address, duration_ms,
           CASE WHEN cancelled THEN '' ELSE response_body END, attempted_at
    FROM given JOIN counted ON counted.id = given.delivery_id
"""
_DOES_WELL = text("""
    UPDATE endpoints SET failing_since = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND failing_since IS NOT NULL
""")
_FAILS = text("""
    UPDATE endpoints SET failing_since = now()
    WHERE id = ANY(CAST(:ids AS uuid[])) AND failing_since IS NULL AND enabled
""")
_RESTS = text("""
    UPDATE endpoints SET paused_until = greatest(paused_until, given.until)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:untils AS timestamptz[])) AS given (id, until) WHERE endpoints.id = given.id
""")
_DISABLE = text("""
    UPDATE endpoints SET enabled = false, updated_at = now(),
        disabled_reason = CASE WHEN id = ANY(CAST(:gone AS uuid[])) THEN 'gone' ELSE 'failing' END
    WHERE enabled AND (
        id = ANY(CAST(:gone AS uuid[]))
        OR id = ANY(CAST(:failing AS uuid[])) AND failing_since < now() - CAST(:long AS interval)
    )
    RETURNING id, url, disabled_reason, failing_since
""")


class Journal:
    """Takes entries without waiting; `recorded` hears of those that are written, by organization."""

    def __init__(
        self, database: Database, recorded: Callable[[Sequence[Entry], frozenset[UUID]], None]
    ) -> None:
        self._database = database
        self._recorded = recorded
        self._waiting: dict[UUID, list[Entry]] = defaultdict(list)
        self._writing: dict[UUID, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    def add(self, organization_id: UUID, entry: Entry) -> None:
        """Write it down as soon as the set of its organization before it is written."""
        self._waiting[organization_id].append(entry)
        if organization_id not in self._writing:
            self._writing[organization_id] = asyncio.create_task(self._write_all(organization_id))

    async def written(self) -> None:
        """Return once everything is written."""
        while self._writing:
            await asyncio.wait(list(self._writing.values()))

    async def _write_all(self, organization_id: UUID) -> None:
        try:
            while entries := self._waiting[organization_id][:_MOST_OF_A_SET]:
                async with self._slots:
                    # What ended while others wrote goes along.
                    entries = self._waiting[organization_id][:_MOST_OF_A_SET]
                    disabled = await self._write(organization_id, entries)
                if disabled is None:
                    await asyncio.sleep(_AFTER_FAILURE_SECONDS)
                    continue
                del self._waiting[organization_id][: len(entries)]
                self._recorded(entries, disabled)
        finally:
            del self._writing[organization_id]
            if not self._waiting[organization_id]:
                del self._waiting[organization_id]

    async def _write(self, organization_id: UUID, entries: Sequence[Entry]) -> frozenset[UUID] | None:
        """The endpoints that are disabled by it; None where it is to be tried again."""
        context = RequestContext.of_process("webhooks", organization_id)
        try:
            async with self._database.tenant_transaction(context) as session:
                return await record(session, entries)
        except Unavailable as error:
            logger().warning("attempts_wait", organization_id=str(organization_id), error=str(error))
            return None
        except Exception:
            # They are not lost, and not passed over: somebody has to look.
            logger().exception("attempts_not_written", organization_id=str(organization_id))
            return None


async def record(session: TenantSession, entries: Sequence[Entry]) -> frozenset[UUID]:
    """Write attempts down with what they mean for their deliveries and endpoints. Answers the endpoints that are disabled by it."""
    columns = zip(*map(_row, entries), strict=True)
    await session.driver.execute(_WRITE, tuple(map(list, columns)))
    well = {entry.endpoint_id for entry in entries if is_success(entry.attempt.status_code)}
    failing = {entry.endpoint_id for entry in entries} - well
    if well:
        await session.execute(_DOES_WELL, {"ids": sorted(well)})
    if rests := {
        entry.endpoint_id: entry.verdict.due_at for entry in entries if entry.verdict.endpoint_rests
    }:
        await session.execute(_RESTS, {"ids": list(rests), "untils": list(rests.values())})
    if not failing:
        return frozenset()
    await session.execute(_FAILS, {"ids": sorted(failing)})
    gone = sorted({entry.endpoint_id for entry in entries if entry.attempt.status_code == GONE})
    return await _disable(session, gone, sorted(failing))


async def _disable(session: TenantSession, gone: list[UUID], failing: list[UUID]) -> frozenset[UUID]:
    long = timedelta(seconds=schedule().disabled_after)
    rows = (await session.execute(_DISABLE, {"gone": gone, "failing": failing, "long": long})).all()
    for row in rows:
        session.publish(
            WebhookEndpointDisabled(
                endpoint_id=str(row.id),
                url=row.url,
                reason=row.disabled_reason,
                failing_since=_timestamp(row.failing_since),
            )
        )
    return frozenset(row.id for row in rows)


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _row(entry: Entry) -> tuple[object, ...]:
    attempt, verdict = entry.attempt, entry.verdict
    return (
        entry.delivery_id,
        attempt.id,
        attempt.outcome,
        attempt.status_code,
        attempt.error,
        attempt.address,
        attempt.duration_ms,
        attempt.response_body,
        attempt.attempted_at,
        verdict.status.value,
        verdict.due_at if verdict.status is Status.PENDING else None,
    )
