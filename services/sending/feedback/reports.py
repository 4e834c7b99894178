"""Reports as they came in: kept raw, since whose they are is told only by what they say."""

from collections.abc import Sequence

from sqlalchemy import insert

from chassis.database import Database
from services.sending.tables import feedback_reports


async def keep_report(database: Database, *, mail_from: str, rcpt_to: Sequence[str], content: bytes) -> None:
    """Store a report; it is safe once this returns. Raises Unavailable."""
    async with database.platform_transaction() as connection:
        await connection.execute(
            insert(feedback_reports)
            .values(mail_from=mail_from, rcpt_to=list(rcpt_to), content=content)
            .inline()
        )
