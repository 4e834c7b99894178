"""Takes reports in: reads and keeps each raw, and lets it have its effect afterwards. What fails is tried again by the sweep.

Reports that come at once go together, so that many share a commit: all of them where they are kept, and those of an organization where they
have their effect. Which of them fails fails alone. Who sent one need not wait for its effect, since whoever dies, it will have it; so the
more there is to do, the more is done in one transaction.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Self
from uuid import UUID

from prometheus_client import Counter

from chassis.context import RequestContext
from chassis.database import Database
from chassis.logs import logger
from services.sending.feedback.effects import Told, take_effect
from services.sending.feedback.mail import Mail
from services.sending.feedback.origins import Origins
from services.sending.feedback.providers.directory import EVENTS
from services.sending.feedback.reports import Kept, Report, are_processed, keep_reports
from services.sending.feedback.understanding import understand
from services.sending.gathering import Gathering

REPORTS = Counter(
    "flownurture_feedback_reports",
    "Reports that were taken in, by provider or as mail, and whether they were known.",
    ("source", "outcome"),
)

# While one commits, the others gather.
_SETS_KEPT = 1
_BYTES_OF_A_SET = 4 * 1024 * 1024
# One after another, so that no two wait for the same rows.
_SETS_OF_AN_ORGANIZATION = 1
_PAUSE_SECONDS = 0.2
# Their outcomes go into one event, which has its bound.
_MESSAGES_OF_A_SET = 250
# Kept reports without their effect; then whoever sends the next one waits.
_MOST_UNDER_WAY = 1_000
# What is longer is read beside all else: a mail takes a millisecond as a rule, and what is made to take long 200.
_READ_AT_ONCE = 32 * 1024


@dataclass(slots=True)
class _Share:
    """What a report tells of messages of one organization."""

    told: Sequence[Told]
    # Whether all else that it tells has had its effect.
    is_last: bool
    has_to_wait: bool = False


class Intake:
    """Reports, as they come. Nothing but a genuine token makes any of them count. To leave it waits for all effects under way."""

    def __init__(self, database: Database, origins: Origins) -> None:
        self._database = database
        self._origins = origins
        self._keeping = Gathering[Kept](self._keep, groups=_SETS_KEPT, size=_BYTES_OF_A_SET)
        self._effects = Gathering[_Share](
            self._take_effect,
            groups=_SETS_OF_AN_ORGANIZATION,
            size=_MESSAGES_OF_A_SET,
            pause=_PAUSE_SECONDS,
        )
        self._room = asyncio.Semaphore(_MOST_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.finish()

    async def take(self, report: Report) -> asyncio.Task[None]:
        """Keep a report; it is kept once this returns. A post that comes again is known, and left alone. Raises Unavailable.

        What is answered ends when the report has had its effect, or waits for the sweep; who can do without need not await it.
        """
        try:
            told = await self._read(report)
        except Exception:
            # Kept it can be read by whoever comes to know how.
            logger().exception("report_not_read", report=str(report.id))
            told = None
        kept = Kept(report, is_due=told is None or any(each.finding.has_effect for each in told))
        await self._keeping.work_on(_context(None), kept, len(report.content))
        REPORTS.labels(report.provider or "mail", "known" if kept.is_known else "kept").inc()
        await self._room.acquire()
        task = asyncio.create_task(self._have_effect_or_wait(() if told is None or kept.is_known else told))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def finish(self) -> None:
        """Return once all that was taken has had its effect, or waits for the sweep."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def process(self, report: Report) -> None:
        """Let a report that is kept have its effect; if it has had it, nothing changes. Raises Unavailable."""
        told = await self._read(report)
        if any(each.finding.has_effect for each in told):
            await self._have_effect(told)
        else:
            async with self._database.platform_transaction() as connection:
                await are_processed(connection, [report.id])

    def read(self, report: Report) -> Sequence[Told]:
        """What it says, of each message that it is about."""
        if report.provider:
            return [
                Told(organization, message_id, event.finding, report.id)
                for event in EVENTS[report.provider](report.content)
                for organization, message_id in self._origins.of_event(event.carried, event.addresses)
            ]
        mail = Mail(report.content)
        finding = understand(mail)
        return [
            Told(organization, message_id, finding, report.id)
            for organization, message_id in self._origins.of(report.rcpt_to, mail)
        ]

    async def _read(self, report: Report) -> Sequence[Told]:
        if len(report.content) > _READ_AT_ONCE:
            return await asyncio.to_thread(self.read, report)
        return self.read(report)

    async def _keep(self, _: RequestContext, *reports: Kept) -> None:
        async with self._database.platform_transaction() as connection:
            await keep_reports(connection, reports)

    async def _have_effect_or_wait(self, told: Sequence[Told]) -> None:
        try:
            await self._have_effect(told)
        except Exception:
            logger().warning("report_waits", report=str(told[0].report_id), exc_info=True)
        finally:
            self._room.release()

    async def _have_effect(self, told: Sequence[Told]) -> None:
        shares = list(_shares([each for each in told if each.finding.has_effect]))
        is_done = True
        for place, part in enumerate(shares, 1):
            share = _Share(part, is_last=is_done and place == len(shares))
            await self._effects.work_on(_context(part[0].organization), share, len(part))
            is_done = is_done and not share.has_to_wait

    async def _take_effect(self, context: RequestContext, *shares: _Share) -> None:
        told = list(chain.from_iterable(share.told for share in shares))
        async with self._database.tenant_transaction(context) as session:
            waiting = {each.report_id for each in await take_effect(session, told)}
            last = {share.told[0].report_id for share in shares if share.is_last}
            await are_processed(session, last - waiting)
        for share in shares:
            share.has_to_wait = share.told[0].report_id in waiting


def _shares(told: Sequence[Told]) -> Iterator[Sequence[Told]]:
    """By organization, and no more at a time than go into a set."""
    for _, group in groupby(sorted(told, key=_organization), key=_organization):
        theirs = list(group)
        for start in range(0, len(theirs), _MESSAGES_OF_A_SET):
            yield theirs[start : start + _MESSAGES_OF_A_SET]


def _organization(told: Told) -> UUID:
    return told.organization


def _context(organization: UUID | None) -> RequestContext:
    return RequestContext.of_process("feedback", organization)
