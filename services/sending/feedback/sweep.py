"""Processes reports that wait for it, and forgets those that are too old."""

import asyncio
from datetime import timedelta

from chassis.logs import logger
from chassis.scheduler import Periodic
from services.sending.feedback.intake import Intake
from services.sending.feedback.reports import KeptReports, Report

_INTERVAL = timedelta(seconds=30)
_FORGETTING_INTERVAL = timedelta(hours=1)


class Sweep:
    """Looks after reports whose processing failed, or whose message was on its way still."""

    def __init__(self, reports: KeptReports, intake: Intake) -> None:
        self._reports = reports
        self._intake = intake

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(_INTERVAL, self.round).run()

    async def round(self) -> int:
        """Process what is due now; answers how many reports that was. One's failure does not stop the others."""
        processed = 0
        while due := await self._reports.take_due():
            await asyncio.gather(*map(self._process, due))
            processed += len(due)
        return processed

    async def _process(self, report: Report) -> None:
        try:
            await self._intake.process(report)
        except Exception:
            logger().exception("report_failed", report=str(report.id))


class Forgetting:
    """Forgets, every hour, reports that are older than they are kept."""

    def __init__(self, reports: KeptReports, kept: timedelta) -> None:
        self._reports = reports
        self._kept = kept

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(_FORGETTING_INTERVAL, self.round).run()

    async def round(self) -> int:
        """Forget what is too old now; answers how many reports that was."""
        return await self._reports.forget(self._kept)
