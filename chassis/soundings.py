"""What waits in the database: looked up seldom, through a named role, and shown until the next look.

Replicas each look, and show the same: an operator takes the greatest of them.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Executable, text

from chassis.database import RoleDatabase
from chassis.logs import logger
from chassis.metrics import BACKLOG, BACKLOG_OLDEST
from chassis.scheduler import Periodic

INTERVAL = timedelta(seconds=30)
# Counted at the most: that there are more changes nothing for whoever looks, and counting costs.
MOST = 10_000

_OUTBOX = text("""
    SELECT CAST(:process AS text), count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM (
        SELECT created_at FROM outbox WHERE domain = :process AND published_at IS NULL ORDER BY id LIMIT :most
    ) AS waiting
""")
_DEAD_LETTERS = text("""
    SELECT stream, count(*), extract(epoch FROM clock_timestamp() - min(parked_at))
    FROM (SELECT stream, parked_at FROM dead_letters WHERE process = :process ORDER BY id LIMIT :most) AS parked
    GROUP BY stream
""")


def events_of(process: str) -> Mapping[str, Executable]:
    """What a process has committed and not published, and what it has read and parked; through the relay's role."""
    queries = {"outbox": _OUTBOX, "dead_letters": _DEAD_LETTERS}
    return {kind: query.bindparams(process=process, most=MOST) for kind, query in queries.items()}


class Soundings:
    """Takes soundings, each a query by the kind of what it looks for.

    A query answers rows of a part, how many of it wait, and how many seconds the oldest has waited; of no more than `MOST`.
    What cannot be looked up is not shown, rather than as it was.
    """

    def __init__(self, database: RoleDatabase, queries: Mapping[str, Executable]) -> None:
        self._database = database
        self._queries = queries
        self._shown: dict[str, set[str]] = defaultdict(set)

    async def run(self) -> None:
        """Run until cancelled; the first look is at once."""
        await self.round()
        await Periodic(INTERVAL, self.round).run()

    async def round(self) -> None:
        """Look once. Which query fails fails alone."""
        for kind, query in self._queries.items():
            found: dict[str, tuple[float, float]] = {}
            try:
                async with self._database.transaction() as connection:
                    rows = await connection.execute(query)
                    found = {part: (items, max(0.0, float(oldest))) for part, items, oldest in rows}
            except Exception:
                logger().warning("not_sounded", kind=kind, exc_info=True)
            self._show(kind, found)

    def _show(self, kind: str, found: Mapping[str, tuple[float, float]]) -> None:
        for part in self._shown[kind] - found.keys():
            BACKLOG.remove(kind, part)
            BACKLOG_OLDEST.remove(kind, part)
        self._shown[kind] = set(found)
        for part, (items, oldest) in found.items():
            BACKLOG.labels(kind, part).set(items)
            BACKLOG_OLDEST.labels(kind, part).set(oldest)
