"""Processing kept reports again, by the rules of today."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, or_, select

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.sending.feedback.effects import Told, take_effect
from services.sending.feedback.intake import Intake
from services.sending.feedback.reports import Report
from services.sending.feedback.understanding import Finding
from services.sending.tables import feedback_findings

_NOTHING = "nothing"


class Change(NamedTuple):
    """What a report said of a message, and says now."""

    before: str
    now: str


class Reprocessing:
    """Reads reports anew. What one said and says no more goes; to the list is only added, and roll-back takes off."""

    def __init__(self, database: Database, intake: Intake) -> None:
        self._database = database
        self._intake = intake

    async def preview(self, reports: AsyncIterable[Report]) -> Counter[Change]:
        """Of how many messages `apply` would change what is known."""
        changes: Counter[Change] = Counter()
        async for told, kinds in self._read(reports):
            async with self._database.tenant_transaction(
                _context(told.organization), read_only=True
            ) as session:
                changes[await _change(session, told, kinds)] += 1
        return changes

    async def apply(self, reports: AsyncIterable[Report]) -> Counter[Change]:
        """Let each report have the effect that it has today. Doing it again changes nothing. Raises Unavailable."""
        changes: Counter[Change] = Counter()
        async for told, kinds in self._read(reports):
            async with self._database.tenant_transaction(_context(told.organization)) as session:
                changes[await _change(session, told, kinds)] += 1
                await session.execute(
                    delete(feedback_findings).where(
                        feedback_findings.c.message_id == told.message_id,
                        feedback_findings.c.report_id == told.report_id,
                        feedback_findings.c.kind.not_in(kinds),
                    )
                )
                await take_effect(session, [told])
        return changes

    async def _read(self, reports: AsyncIterable[Report]) -> AsyncIterator[tuple[Told, Collection[str]]]:
        """What each says of a message, and all that it says of that one.

        Not who opted out: that is nothing that rules read, and to do it again would forget that somebody came back since.
        """
        async for report in reports:
            read = [told for told in self._intake.read(report) if not told.finding.opts_out]
            kinds: dict[UUID, set[str]] = defaultdict(set)
            for told in read:
                kinds[told.message_id].add(_kind(told.finding))
            for told in read:
                yield told, kinds[told.message_id]


async def _change(session: TenantSession, told: Told, kinds: Collection[str]) -> Change:
    held = feedback_findings.c
    kind = _kind(told.finding)
    found = await session.execute(
        select(held.kind).where(
            held.message_id == told.message_id, or_(held.report_id == told.report_id, held.kind == kind)
        )
    )
    # What it says besides is told of by itself.
    before = set(found.scalars()) - (set(kinds) - {kind})
    return Change(kind if kind in before else min(before, default=_NOTHING), kind)


def _kind(finding: Finding) -> str:
    return finding.kind.value if finding.counts else _NOTHING


def _context(organization: UUID) -> RequestContext:
    return RequestContext.of_process("feedback", organization)
