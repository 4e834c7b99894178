"""Reports as they came in: kept raw, so that whatever reads them later can read them again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert

from chassis.database import Database
from services.sending.tables import feedback_reports


@dataclass(frozen=True, slots=True)
class RawReport:
    """One mail to a feedback address."""

    mail_from: str
    rcpt_to: Sequence[str]
    content: bytes


async def keep(database: Database, report: RawReport) -> None:
    """Store a report. Raises Unavailable when the database does not answer."""
    async with database.platform_transaction() as connection:
        await connection.execute(
            insert(feedback_reports).values(
                mail_from=report.mail_from, rcpt_to=list(report.rcpt_to), content=report.content
            )
        )
