"""Quiet hours: from one time of day until another, by an organization's clocks, in which no campaign and no workflow sends.

What clocks show is told here and nowhere else. The organization's row holds, as two moments, the quiet hours that are or come next,
so that a statement asks no more than whether it is between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.sending.clock_times import moment_of

_ONE_DAY = timedelta(days=1)
_EVERY = timedelta(seconds=1)

# In SQL, of the rows of `sending_policies`: that it is quiet now.
IS_QUIET = "now() >= quiet_begins_at AND now() < quiet_ends_at"

# For the scheduler's role.
_QUIET_HOURS_THAT_ARE_OVER = text("""
    SELECT organization_id, organization_id AS id FROM sending.sending_policies
    WHERE quiet_ends_at <= now() ORDER BY quiet_ends_at LIMIT 256
""")
_OVER = text("""
    SELECT time_zone, quiet_from, quiet_until, now() AS now FROM sending_policies
    WHERE quiet_ends_at <= now() FOR NO KEY UPDATE
""")
_GO_ON = text("UPDATE sending_policies SET quiet_begins_at = :begins_at, quiet_ends_at = :ends_at")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From a time of day until another, which is of the day after where it is not later."""

    zone: ZoneInfo
    begin: time
    end: time

    def until(self, moment: datetime) -> datetime | None:
        """When those are over that the moment is in, in UTC; None when it is in none."""
        found = None
        # Where clocks are put forward the next may have begun before the last are over.
        while ends := [
            end for begin, end in self._about(found or moment) if begin <= (found or moment) < end
        ]:
            found = max(ends)
        return found

    def next(self, moment: datetime) -> tuple[datetime, datetime]:
        """From when until when those last that the moment is in, or else the next."""
        if ends_at := self.until(moment):
            return moment, ends_at
        # Of a night in which clocks are put forward over all of it there is nothing.
        begins_at = min(begin for begin, end in self._about(moment) if moment < begin < end)
        return begins_at, self.until(begins_at) or begins_at

    def _about(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Those of the days about a moment, in UTC."""
        today = moment.astimezone(self.zone).date()
        for days in range(-2, 4):
            day = today + timedelta(days=days)
            last = day if self.begin < self.end else day + _ONE_DAY
            yield moment_of(day, self.begin, self.zone), moment_of(last, self.end, self.zone)


class QuietHoursWatch:
    """Goes on to the next quiet hours of an organization when some are over."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, _QUIET_HOURS_THAT_ARE_OVER, _EVERY, self._look_at, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Look once at every organization whose quiet hours are over; answers how many there were."""
        return await self._scheduler.round()

    async def _look_at(self, context: RequestContext, _: object) -> None:
        async with self._database.tenant_transaction(context) as session:
            await _go_on(session)


async def _go_on(session: TenantSession) -> None:
    row = (await session.execute(_OVER)).one_or_none()
    if row is None:
        return
    hours = QuietHours(ZoneInfo(row.time_zone), row.quiet_from, row.quiet_until)
    begins_at, ends_at = hours.next(row.now)
    await session.execute(_GO_ON, {"begins_at": begins_at, "ends_at": ends_at})
