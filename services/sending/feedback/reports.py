"""Reports as they came in: kept raw for a while, since whose they are is told only by what they say, and what they say may be read anew."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import RoleDatabase, TenantSession
from chassis.soundings import MOST

# Who took it in has this long; then somebody else looks after it.
_IN_HAND = timedelta(minutes=1)
_PAGE = 100

# In one round trip, however many they are.
_KEEP = text("""
    INSERT INTO sending.feedback_reports (id, mail_from, rcpt_to, content, provider, due_at)
    VALUES (:id, :mail_from, CAST(:rcpt_to AS text[]), :content, :provider, now() + CAST(:in_hand AS interval))
    ON CONFLICT DO NOTHING
""")
_ARE_KEPT = text("SELECT id FROM sending.feedback_reports WHERE id = ANY(CAST(:ids AS uuid[]))")
_ARE_PROCESSED = text("""
    UPDATE sending.feedback_reports SET due_at = NULL WHERE id = ANY(CAST(:ids AS uuid[]))
""")
# Later and later: what cannot be processed is kept, and gets in nobody's way.
_TAKE_DUE = text("""
    WITH due AS (
        SELECT id FROM sending.feedback_reports WHERE due_at <= now() ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE sending.feedback_reports AS report
    SET due_at = now() + greatest(interval '1 minute', least(now() - report.received_at, interval '6 hours'))
    FROM due WHERE report.id = due.id
    RETURNING report.id, report.rcpt_to, report.content, report.provider, report.received_at
""")
# How many wait for their effect longer than they should.
DUE = text("""
    SELECT 'due', count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)
    FROM (SELECT due_at FROM sending.feedback_reports WHERE due_at <= now() ORDER BY due_at LIMIT :most) AS due
""").bindparams(most=MOST)
_FORGET = text("DELETE FROM sending.feedback_reports WHERE received_at < now() - :kept")
_PAGE_OF = text("""
    SELECT id, rcpt_to, content, provider, received_at FROM sending.feedback_reports
    WHERE received_at >= :since AND received_at < :until AND id > :after ORDER BY id LIMIT :most
""")
_OF = text("""
    SELECT id, rcpt_to, content, provider, received_at FROM sending.feedback_reports
    WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
""")


@dataclass(frozen=True, slots=True)
class Report:
    """What came in, each byte of it: a mail, to whom, and by whom, which is no longer asked once it is kept; or a provider's post."""

    id: UUID
    rcpt_to: Sequence[str]
    content: bytes
    mail_from: str = ""
    # Whose post it is; empty for a mail.
    provider: str = ""
    received_at: datetime | None = None

    @classmethod
    def of_post(cls, provider: str, content: bytes) -> Self:
        """A post. The same post again is the same report."""
        digest = sha256(provider.encode() + b"\0" + content).digest()
        return cls(UUID(bytes=digest[:16]), (), content, provider=provider)


@dataclass(slots=True)
class Kept:
    """A report to be kept. One that is due will be processed, whoever dies."""

    report: Report
    is_due: bool
    # Whether it was kept before.
    is_known: bool = False


async def keep_reports(connection: AsyncConnection, reports: Sequence[Kept]) -> None:
    """Store reports, and note which were there; they are safe once that is committed."""
    if posts := [kept.report.id for kept in reports if kept.report.provider]:
        known = set((await connection.execute(_ARE_KEPT, {"ids": posts})).scalars())
        for kept in reports:
            kept.is_known = kept.report.id in known
    await connection.execute(
        _KEEP,
        [
            {
                "id": kept.report.id,
                "mail_from": kept.report.mail_from,
                "rcpt_to": list(kept.report.rcpt_to),
                "content": kept.report.content,
                "provider": kept.report.provider,
                "in_hand": _IN_HAND if kept.is_due else None,
            }
            for kept in reports
        ],
    )


async def are_processed(session: TenantSession | AsyncConnection, report_ids: Collection[UUID]) -> None:
    """Note in the transaction of reports' effects that they have had it."""
    if report_ids:
        await session.execute(_ARE_PROCESSED, {"ids": list(report_ids)})


class KeptReports:
    """All that is kept, through the scheduler's role."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def take_due(self) -> list[Report]:
        """Some of those that wait to be processed; what becomes of none of them comes again, later and later."""
        async with self._database.transaction() as connection:
            return [_report(row) for row in await connection.execute(_TAKE_DUE, {"most": _PAGE})]

    async def forget(self, kept: timedelta) -> int:
        """Delete what is older; answers how many that were."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_FORGET, {"kept": kept})).rowcount

    async def received(self, since: datetime, until: datetime) -> AsyncIterator[Report]:
        """Those that came in within a time, in the order of their ids: mails in their own order."""
        after = UUID(int=0)
        while True:
            wanted = {"since": since, "until": until, "after": after, "most": _PAGE}
            async with self._database.transaction() as connection:
                rows = (await connection.execute(_PAGE_OF, wanted)).all()
            for row in rows:
                yield _report(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1].id

    async def of(self, ids: Sequence[UUID]) -> list[Report]:
        """Those of these ids that are kept still."""
        async with self._database.transaction() as connection:
            return [_report(row) for row in await connection.execute(_OF, {"ids": list(ids)})]


def _report(row: Row[Any]) -> Report:
    return Report(row.id, row.rcpt_to, bytes(row.content), provider=row.provider, received_at=row.received_at)
