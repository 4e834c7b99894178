"""How long work on contacts goes, for Prometheus."""

from prometheus_client import Counter
from sqlalchemy import TextClause, text

from chassis.soundings import MOST

TURNS = Counter(
    "flownurture_job_turns",
    "Turns of jobs by how they ended: done, refused since it cannot be done, taken over, failed and to come again, given up.",
    ("kind", "outcome"),
)


def unfinished(table: str) -> TextClause:
    """For the scheduler's role: jobs of a table that have not ended, by status, and how long ago the oldest was asked for."""
    return text(f"""
        SELECT status, count(*), extract(epoch FROM clock_timestamp() - min(uuid_extract_timestamp(id)))
        FROM (
            SELECT status, id FROM contacts.{table} WHERE status IN ('pending', 'running') ORDER BY id LIMIT :most
        ) AS unfinished
        GROUP BY status
    """).bindparams(most=MOST)  # noqa: S608 - the name of one of our tables
