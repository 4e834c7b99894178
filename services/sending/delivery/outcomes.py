"""What became of messages, written in sets: rows, events and hard bounces' suppressions in one transaction.

A result counts only as long as the message carries the token that it was claimed with. Whoever finds it settled by
others, because its lease had run out, changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.logs import logger
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.messages_pb2 import MessageStatus as StatusMessage
from services.sending.delivery.claims import Claimed
from services.sending.delivery.replies import Verdict
from services.sending.statuses import MessageStatus, SuppressionReason
from services.sending.suppression_list import Suppressed, suppress

_MOST_IN_A_SET = 200
# Results that come in between are written together.
_PAUSE_SECONDS = 0.005
_RETRY_SECONDS = 1.0

_WRITE = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:statuses AS text[]), CAST(:details AS text[]),
            CAST(:pauses AS interval[])
        ) AS given (id, token, status, detail, pause)
    ), settled AS (
        UPDATE messages AS message
        SET status = given.status, lease_token = NULL, smtp_reply = given.detail,
            attempts = message.attempts + 1,
            next_attempt_at = now() + given.pause,
            settled_at = CASE WHEN given.pause IS NULL THEN now() END,
            merge_fields = CASE WHEN given.pause IS NOT NULL OR given.status = 'indeterminate' THEN message.merge_fields END
        FROM given
        WHERE message.id = given.id AND message.lease_token = given.token AND message.status = 'sending'
        RETURNING message.id, message.campaign_id, message.contact_id, message.status, message.smtp_reply
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail) SELECT id, status, smtp_reply FROM settled
    )
    SELECT * FROM settled
""")
_SETTLE_ABANDONED = text("""
    WITH settled AS (
        UPDATE messages
        SET status = CASE WHEN campaign_id IS NULL THEN 'approved' ELSE 'indeterminate' END, lease_token = NULL,
            settled_at = CASE WHEN campaign_id IS NULL THEN NULL ELSE now() END
        WHERE lease_token = :token AND status = 'sending'
        RETURNING id, batch_id, campaign_id, contact_id, status, smtp_reply
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail)
        SELECT id, status, 'the process that was sending it died' FROM settled
    ), looked_after AS (
        UPDATE batches SET due_at = now() WHERE id IN (SELECT batch_id FROM settled) AND status = 'approved'
    )
    SELECT * FROM settled
""")


@dataclass(frozen=True, slots=True)
class Result:
    """A message and the verdict on it."""

    message: Claimed
    verdict: Verdict


class Outcomes:
    """Takes results one by one and writes them in sets, until it is left; by then all are written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[RequestContext, Result]] = []
        self._wake = asyncio.Event()
        self._written = asyncio.Condition()
        self._recorded = 0
        self._done = 0
        self._closing = False

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        await self._writer

    def record(self, context: RequestContext, result: Result) -> None:
        """Take a result; it will be written soon."""
        self._waiting.append((context, result))
        self._recorded += 1
        self._wake.set()

    async def flushed(self) -> None:
        """Return when all that was recorded until now has been written."""
        mark = self._recorded
        async with self._written:
            await self._written.wait_for(lambda: self._done >= mark)

    async def _write_forever(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._waiting[:_MOST_IN_A_SET]
                await self._write(batch)
                del self._waiting[: len(batch)]
                async with self._written:
                    self._done += len(batch)
                    self._written.notify_all()
                if not self._closing:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _write(self, batch: Sequence[tuple[RequestContext, Result]]) -> None:
        by_organization: dict[UUID, list[Result]] = defaultdict(list)
        contexts: dict[UUID, RequestContext] = {}
        for context, result in batch:
            by_organization[context.organization].append(result)
            contexts[context.organization] = context
        for organization, results in by_organization.items():
            await self._write_set(contexts[organization], results)

    async def _write_set(self, context: RequestContext, results: Sequence[Result]) -> None:
        while True:
            try:
                async with self._database.tenant_transaction(context) as session:
                    await write_results(session, results)
            except Unavailable:
                if self._closing:
                    # What is not written is in doubt, and will be settled as such.
                    logger().error("results_lost", messages=len(results), exc_info=True)
                    return
                logger().warning("results_wait", messages=len(results), exc_info=True)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


async def write_results(session: TenantSession, results: Sequence[Result]) -> None:
    """Settle or defer messages, each if it is still ours; suppress the addresses that do not exist."""
    by_id = {result.message.id: result for result in results}
    written = await session.execute(
        _WRITE,
        {
            "ids": list(by_id),
            "tokens": [result.message.token for result in by_id.values()],
            "statuses": [result.verdict.status.value for result in by_id.values()],
            "details": [result.verdict.detail for result in by_id.values()],
            "pauses": [result.verdict.retry_after for result in by_id.values()],
        },
    )
    rows = written.all()
    if len(rows) < len(by_id):
        logger().warning("results_too_late", messages=len(by_id) - len(rows))
    ours = [by_id[row.id] for row in rows]
    await suppress(session, [_hard_bounce(result) for result in ours if result.verdict.address_is_bad])
    _announce(session, [row for row in rows if row.status != MessageStatus.DEFERRED])


async def settle_abandoned(session: TenantSession, token: UUID) -> None:
    """Settle what a dead process had in its hands: in doubt for a campaign, again for a single message.

    Mail of a campaign is never sent twice; a single message is sent again with the same Message-ID.
    """
    rows = (await session.execute(_SETTLE_ABANDONED, {"token": token})).all()
    _announce(session, [row for row in rows if row.status == MessageStatus.INDETERMINATE])


def _hard_bounce(result: Result) -> Suppressed:
    message = result.message
    return Suppressed(message.digest, SuppressionReason.HARD_BOUNCE, message.email, message_id=message.id)


def _announce(session: TenantSession, rows: Sequence[Any]) -> None:
    if not rows:
        return
    now = Timestamp()
    now.GetCurrentTime()
    session.publish(
        MessagesSettled(
            outcomes=[
                MessageOutcome(
                    message_id=str(row.id),
                    campaign_id=str(row.campaign_id or ""),
                    contact_id=str(row.contact_id or ""),
                    status=StatusMessage.Value(f"MESSAGE_STATUS_{row.status.upper()}"),
                    smtp_reply=row.smtp_reply,
                    occurred_at=now,
                )
                for row in rows
            ]
        )
    )
