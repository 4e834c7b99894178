"""How syncs with CRMs go, for Prometheus."""

from prometheus_client import Counter
from sqlalchemy import text

from chassis.soundings import MOST

TURNS = Counter(
    "flownurture_sync_turns",
    "Turns of syncs by how they ended: done, to wait for what did not answer, failed.",
    ("outcome",),
)

# For the scheduler's role: syncs that have not ended, and for how long somebody should have gone on with one.
UNFINISHED = text("""
    SELECT status, count(*), coalesce(extract(epoch FROM clock_timestamp() - min(lease_until)), 0)
    FROM (
        SELECT status, lease_until FROM integrations.syncs
        WHERE status IN ('pending', 'running', 'waiting') ORDER BY lease_until LIMIT :most
    ) AS unfinished
    GROUP BY status
""").bindparams(most=MOST)
