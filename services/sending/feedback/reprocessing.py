"""Processing kept reports again, by the rules of today."""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, or_, select

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.sending.feedback.effects import take_effect
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
        async for report, finding, organization, message_id in self._read(reports):
            async with self._database.tenant_transaction(_context(organization), read_only=True) as session:
                changes[await _change(session, report, finding, message_id)] += 1
        return changes

    async def apply(self, reports: AsyncIterable[Report]) -> Counter[Change]:
        """Let each report have the effect that it has today. Doing it again changes nothing. Raises Unavailable."""
        changes: Counter[Change] = Counter()
        async for report, finding, organization, message_id in self._read(reports):
            async with self._database.tenant_transaction(_context(organization)) as session:
                changes[await _change(session, report, finding, message_id)] += 1
                await session.execute(
                    delete(feedback_findings).where(
                        feedback_findings.c.message_id == message_id,
                        feedback_findings.c.report_id == report.id,
                        feedback_findings.c.kind != _kind(finding),
                    )
                )
                await take_effect(session, message_id, finding, report.id)
        return changes

    async def _read(
        self, reports: AsyncIterable[Report]
    ) -> AsyncIterator[tuple[Report, Finding, UUID, UUID]]:
        async for report in reports:
            finding, about = self._intake.read(report)
            for organization, message_id in about:
                yield report, finding, organization, message_id


async def _change(session: TenantSession, report: Report, finding: Finding, message_id: UUID) -> Change:
    held = feedback_findings.c
    kind = _kind(finding)
    told = await session.execute(
        select(held.kind).where(
            held.message_id == message_id, or_(held.report_id == report.id, held.kind == kind)
        )
    )
    before = set(told.scalars())
    return Change(kind if kind in before else min(before, default=_NOTHING), kind)


def _kind(finding: Finding) -> str:
    return finding.kind.value if finding.counts else _NOTHING


def _context(organization: UUID) -> RequestContext:
    return RequestContext.of_process("feedback", organization)
