"""Takes reports in: keeps each raw first, then reads it and lets it have its effect. What fails is tried again by the sweep."""

from collections.abc import Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from chassis.logs import logger
from services.sending.feedback.effects import take_effect
from services.sending.feedback.mail import Mail
from services.sending.feedback.origins import Origins
from services.sending.feedback.reports import Report, is_processed, keep_report
from services.sending.feedback.understanding import Finding, understand


class Intake:
    """Reports, one by one. Nothing but a genuine token makes any of them count."""

    def __init__(self, database: Database, origins: Origins) -> None:
        self._database = database
        self._origins = origins

    async def take(self, *, mail_from: str, rcpt_to: Sequence[str], content: bytes) -> None:
        """Keep a report and process it; it is kept once this returns. Raises Unavailable."""
        report = Report(new_id(), rcpt_to, content)
        finding, about = self.read(report)
        await keep_report(self._database, report, mail_from=mail_from, due=finding.counts and bool(about))
        try:
            await self._take_effect(report, finding, about)
        except Unavailable:
            logger().warning("report_waits", report=str(report.id), exc_info=True)

    async def process(self, report: Report) -> None:
        """Let a report that is kept have its effect; if it has had it, nothing changes. Raises Unavailable."""
        await self._take_effect(report, *self.read(report))

    def read(self, report: Report) -> tuple[Finding, Sequence[tuple[UUID, UUID]]]:
        """What it says, and of which messages, each by its organization and id."""
        mail = Mail(report.content)
        return understand(mail), self._origins.of(report.rcpt_to, mail)

    async def _take_effect(
        self, report: Report, finding: Finding, about: Sequence[tuple[UUID, UUID]]
    ) -> None:
        if not finding.counts:
            return
        done = True
        for place, (organization, message_id) in enumerate(about, 1):
            context = RequestContext.of_process("feedback", organization)
            async with self._database.tenant_transaction(context) as session:
                done = await take_effect(session, message_id, finding, report.id) and done
                if done and place == len(about):
                    await is_processed(session, report.id)
