"""Undoing what a wrong rule did: exactly the hard bounces' suppressions that one rule, one source, one reporter or one time caused.

Opt-outs and complaints are a person's word, and no rule's mistake: they are never touched. Neither is a bounce that something else proves as well.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from services.sending.statuses import SuppressionReason
from services.sending.suppression.announcements import announce_lifted, announce_rolled_back
from services.sending.suppression_list import Suppressed

_MATCHES = """
    (CAST(:rule AS text) IS NULL OR {row}.rule = :rule)
    AND (CAST(:source AS text) IS NULL OR {row}.source = :source)
    AND (CAST(:since AS timestamptz) IS NULL OR {row}.{moment} >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR {row}.{moment} < :until)
"""
# What bounced has a source; what was imported or comes from before there were rules has none.
_ENTRY = f"entry.reason = 'hard_bounce' AND entry.source <> '' AND {_MATCHES.format(row='entry', moment='created_at')}"
# Who reported it stands in what was found. The scheduler's role sees no findings: it tells of more organizations, in which nothing is wrong.
_CAUSED = f"""
    {_ENTRY} AND (CAST(:reporter AS text) IS NULL OR EXISTS (
        SELECT FROM feedback_findings AS cause
        WHERE cause.message_id = entry.message_id AND cause.report_id = entry.report_id AND cause.reporter = :reporter
    )) AND NOT EXISTS (
        SELECT FROM feedback_findings AS finding
        WHERE finding.email_digest = entry.email_digest AND finding.kind = 'hard'
          AND NOT ({_MATCHES.format(row="finding", moment="occurred_at")}
            AND (CAST(:reporter AS text) IS NULL OR finding.reporter = :reporter))
    )
"""  # noqa: S608 - of our own words alone
# For the scheduler's role.
_WHOSE = text(f"SELECT DISTINCT organization_id FROM sending.suppressions AS entry WHERE {_ENTRY} ORDER BY 1")  # noqa: S608
_COUNT = text(f"SELECT count(*) FROM suppressions AS entry WHERE {_CAUSED}")  # noqa: S608
_LIFT = text(f"DELETE FROM suppressions AS entry WHERE {_CAUSED} RETURNING email_digest, message_id")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Mistake:
    """Which suppressions are wrong: all that it names must hold; what is None holds for all."""

    rule: str | None = None
    source: str | None = None
    reporter: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class RollBack:
    """Undoes in each organization, in a transaction of its own."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = scheduler

    async def preview(self, mistake: Mistake) -> Mapping[UUID, int]:
        """How many entries `apply` would take off the list of which organization."""
        counts: dict[UUID, int] = {}
        for organization in await self._organizations(mistake):
            context = RequestContext.of_process("feedback", organization)
            async with self._database.tenant_transaction(context, read_only=True) as session:
                counts[organization] = int(await session.scalar(_COUNT, asdict(mistake)))
        return counts

    async def apply(self, mistake: Mistake) -> Mapping[UUID, int]:
        """Take them off, and let others know, the audit trail too; answers how many. Doing it again finds none. Raises Unavailable."""
        counts: dict[UUID, int] = {}
        for organization in await self._organizations(mistake):
            context = RequestContext.of_process("feedback", organization)
            async with self._database.tenant_transaction(context) as session:
                lifted = [
                    Suppressed(
                        bytes(row.email_digest), SuppressionReason.HARD_BOUNCE, message_id=row.message_id
                    )
                    for row in await session.execute(_LIFT, asdict(mistake))
                ]
                if lifted:
                    announce_lifted(session, lifted)
                    announce_rolled_back(session, len(lifted), **asdict(mistake))
                counts[organization] = len(lifted)
        return counts

    async def _organizations(self, mistake: Mistake) -> list[UUID]:
        async with self._scheduler.transaction() as connection:
            return list((await connection.execute(_WHOSE, asdict(mistake))).scalars())
