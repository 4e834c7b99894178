"""What became of messages, written in sets: rows, events and hard bounces' suppressions in one transaction.

A result counts only as long as its batch carries the token that it was claimed with. Whoever finds it settled by others,
because its process was declared dead, changes nothing.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any, Self, TypeAlias
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import Unavailable
from chassis.identifiers import milliseconds_of
from chassis.logs import logger
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.messages_pb2 import MessageStatus as StatusMessage
from services.sending import message_figures
from services.sending.batches import close_batches, look_again_in, look_at_once
from services.sending.bounces import enhanced_code
from services.sending.categories import REPEATS_IN_DOUBT, RULES
from services.sending.delivery.busiest import Busiest
from services.sending.delivery.claims import Claimed
from services.sending.delivery.journal import Journal
from services.sending.delivery.replies import Verdict, put_off
from services.sending.findings import BY_REPLY, Noted, note_findings
from services.sending.statuses import MessageStatus
from services.sending.suppression_list import Suppressed, suppress
from services.sending.suppression_policy import REASONS, leading_to_suppression

_MOST_IN_A_SET = 1_000
# Results that come in between are written together.
_PAUSE_SECONDS = 0.05
_RETRY_SECONDS = 0.5

_WRITE = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:batch_ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:statuses AS text[]),
            CAST(:details AS text[]), CAST(:pauses AS interval[]), CAST(:attempted AS boolean[])
        ) AS given (id, batch_id, token, status, detail, pause, attempted)
    ), ours AS (
        SELECT id, lease_token FROM batches
        WHERE id = ANY(CAST(:batch_ids AS uuid[])) AND lease_token = ANY(CAST(:tokens AS uuid[])) FOR UPDATE
    ), settled AS (
        UPDATE messages AS message
        SET status = given.status, smtp_reply = given.detail, attempts = message.attempts + CAST(given.attempted AS integer),
            next_attempt_at = now() + given.pause,
            settled_at = CASE WHEN given.pause IS NULL THEN now() END,
            merge_fields = CASE WHEN given.pause IS NOT NULL OR given.status = 'indeterminate' THEN message.merge_fields END
        FROM given JOIN ours ON ours.id = given.batch_id AND ours.lease_token = given.token
        -- Found by its id alone. What tells more of it is said so that no index is chosen by it: before a new table has statistics,
        -- each result would read its whole batch.
        WHERE message.id = given.id AND message.batch_id IS NOT DISTINCT FROM given.batch_id AND message.settled_at IS NULL
        RETURNING message.id, message.campaign_id, message.contact_id, message.status, message.smtp_reply, message.settled_at,
            given.attempted
    ), noted AS (
        INSERT INTO message_events (message_id, status, detail)
        SELECT id, status, smtp_reply FROM settled WHERE status = 'deferred' AND attempted
    )
    SELECT * FROM settled
""")
_SETTLE_ABANDONED = text(f"""
    WITH leased AS (
        SELECT id, leased_at FROM batches WHERE lease_token = :token FOR UPDATE
    ), settled AS (
        UPDATE messages AS message
        SET status = CASE WHEN {REPEATS_IN_DOUBT} THEN 'queued' ELSE 'indeterminate' END,
            next_attempt_at = NULL, smtp_reply = 'the process that was sending it died',
            settled_at = CASE WHEN {REPEATS_IN_DOUBT} THEN NULL ELSE now() END
        FROM leased
        WHERE message.batch_id = leased.id
          AND (message.status = 'queued' OR message.status = 'deferred' AND message.next_attempt_at <= leased.leased_at)
        RETURNING message.id, message.campaign_id, message.contact_id, message.status, message.smtp_reply, message.settled_at
    )
    SELECT leased.id AS batch_id, settled.* FROM leased FULL JOIN settled ON false
""")  # noqa: S608 - of our own words alone


@dataclass(frozen=True, slots=True)
class Result:
    """A message, the verdict on it, and where the journal has its note."""

    message: Claimed
    verdict: Verdict
    note: int | None = None


@dataclass(frozen=True, slots=True)
class _Closing:
    batch_ids: Collection[UUID]
    token: UUID
    wait: timedelta | None
    written: asyncio.Future[None] = field(compare=False)


_Entry: TypeAlias = Result | _Closing


class Outcomes:
    """Takes results one by one and writes them in sets, until it is left; by then all are written."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal
        self._waiting: list[tuple[RequestContext, _Entry]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self.busiest = Busiest()

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        await self._writer

    async def run(self) -> None:
        """Run until cancelled. What cannot be written at all ends the process: its journal tells the next one what it could not."""
        await asyncio.shield(self._writer)

    def record(self, context: RequestContext, result: Result) -> None:
        """Take a result; it will be written soon."""
        self._take(context, result)

    async def give_back(
        self,
        context: RequestContext,
        batch_ids: Collection[UUID],
        token: UUID,
        wait: timedelta | None = None,
    ) -> None:
        """Close batches that were claimed; returns when that is written, and all that was recorded before.

        What was not begun of them waits so long, when that is known.
        """
        closing = _Closing(batch_ids, token, wait, asyncio.get_running_loop().create_future())
        self._take(context, closing)
        await closing.written

    def _take(self, context: RequestContext, entry: _Entry) -> None:
        self._waiting.append((context, entry))
        self._wake.set()

    async def _write_forever(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                entries = self._waiting[:_MOST_IN_A_SET]
                await self._write(entries)
                del self._waiting[: len(entries)]
                if not self._closing:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _write(self, entries: Sequence[tuple[RequestContext, _Entry]]) -> None:
        by_organization: dict[UUID, list[_Entry]] = defaultdict(list)
        contexts: dict[UUID, RequestContext] = {}
        for context, entry in entries:
            by_organization[context.organization].append(entry)
            contexts[context.organization] = context
        for organization, entered in by_organization.items():
            await self._write_set(contexts[organization], entered)
            self._done(entered)

    async def _write_set(self, context: RequestContext, entries: Sequence[_Entry]) -> None:
        closings = [entry for entry in entries if isinstance(entry, _Closing)]
        results = [entry for entry in entries if isinstance(entry, Result)]
        while True:
            try:
                async with self._database.tenant_transaction(context) as session:
                    written = await write_results(session, results)
                    for token in {closing.token for closing in closings}:
                        theirs = [closing.batch_ids for closing in closings if closing.token == token]
                        closed = list(chain.from_iterable(theirs))
                        await close_batches(session, closed, token)
                    for closing in closings:
                        if closing.wait is not None:
                            await look_again_in(session, closing.batch_ids, closing.wait)
            except Unavailable:
                if self._closing:
                    # What is not written is in doubt, and will be settled as such.
                    logger().error("results_lost", messages=len(results), exc_info=True)
                    return
                logger().warning("results_wait", messages=len(results), exc_info=True)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._count(context, written)
                return

    def _count(self, context: RequestContext, written: Sequence[Result]) -> None:
        message_figures.count("settled", Counter(_outcome(result.verdict) for result in written))
        attempted = [result.message for result in written if result.verdict.attempted]
        self.busiest.count(context.organization, len(attempted))
        for message in attempted:
            if message.attempts == 0:
                _note_delay(message)

    def _done(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Result):
                if entry.note is not None:
                    self._journal.forget(entry.note)
            elif not entry.written.done():
                entry.written.set_result(None)


def in_doubt(message: Claimed, why: str) -> Verdict:
    """What becomes of a message of which nobody knows whether it was taken: its category says whether it goes again."""
    if RULES[message.category].repeats_in_doubt:
        return put_off(why, attempts=message.attempts)
    return Verdict(MessageStatus.INDETERMINATE, why)


async def write_results(session: TenantSession, results: Sequence[Result]) -> list[Result]:
    """Settle or defer messages, each if it is still ours; suppress the addresses that do not exist. Answers those that were ours."""
    if not results:
        return []
    by_id = {result.message.id: result for result in results}
    messages = [result.message for result in by_id.values()]
    verdicts = [result.verdict for result in by_id.values()]
    written = await session.execute(
        _WRITE,
        {
            "ids": list(by_id),
            "batch_ids": [message.batch_id for message in messages],
            "tokens": [message.token for message in messages],
            "statuses": [verdict.status.value for verdict in verdicts],
            "details": [_storable(verdict.detail) for verdict in verdicts],
            "pauses": [verdict.retry_after for verdict in verdicts],
            "attempted": [verdict.attempted for verdict in verdicts],
        },
    )
    rows = written.all()
    if len(rows) < len(by_id):
        logger().warning("results_too_late", messages=len(by_id) - len(rows))
    ours = [by_id[row.id] for row in rows]
    found = [finding for result in ours if (finding := _finding(result)) is not None]
    await note_findings(session, found)
    leading = await leading_to_suppression(session, found)
    await suppress(session, [_bounce(by_id[finding.message_id].message, finding) for finding in leading])
    _announce(session, [row for row in rows if row.status != MessageStatus.DEFERRED])
    return ours


async def settle_abandoned(session: TenantSession, token: UUID) -> int:
    """Settle what a dead process had claimed, when nobody can say what of it was begun: all of it is in doubt.

    Answers how many stay so, for marketing is not repeated.
    """
    rows = (await session.execute(_SETTLE_ABANDONED, {"token": token})).all()
    batch_ids = [row.batch_id for row in rows if row.batch_id is not None]
    await close_batches(session, batch_ids, token)
    await look_at_once(session, batch_ids)
    indeterminate = [row for row in rows if row.status == MessageStatus.INDETERMINATE]
    _announce(session, indeterminate)
    return len(indeterminate)


def _outcome(verdict: Verdict) -> str:
    return verdict.status.value if verdict.attempted else "put_back"


def _note_delay(message: Claimed) -> None:
    if message.mailing_id is None:
        message_figures.took("single", milliseconds_of(message.id) / 1000)
    elif message.approved_at is not None:
        message_figures.took("mailing", message.approved_at.timestamp())


def _storable(text: str) -> str:
    # What PostgreSQL's text cannot hold: halves of characters, and zeros.
    return text.encode(errors="replace").decode().replace("\0", "")


def _finding(result: Result) -> Noted | None:
    message, classified = result.message, result.verdict.classified
    if classified is None:
        return None
    enhanced = enhanced_code(result.verdict.detail)
    return Noted(message.id, message.digest, classified.kind, enhanced, classified.rule, BY_REPLY)


def _bounce(message: Claimed, finding: Noted) -> Suppressed:
    return Suppressed(
        message.digest,
        REASONS[finding.kind],
        message.email,
        message_id=message.id,
        rule=finding.rule,
        source=finding.source,
    )


def _announce(session: TenantSession, rows: Sequence[Any]) -> None:
    if not rows:
        return
    # All of a transaction are settled at one moment, and counted by it, as is what supersedes them.
    settled_at = Timestamp()
    settled_at.FromDatetime(rows[0].settled_at)
    session.publish(
        MessagesSettled(
            outcomes=[
                MessageOutcome(
                    message_id=str(row.id),
                    campaign_id=str(row.campaign_id or ""),
                    contact_id=str(row.contact_id or ""),
                    status=StatusMessage.Value(f"MESSAGE_STATUS_{row.status.upper()}"),
                    smtp_reply=row.smtp_reply,
                    occurred_at=settled_at,
                )
                for row in rows
            ]
        )
    )
