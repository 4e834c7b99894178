"""Syncs that run: what the scheduler finds, and what it forgets. `contact_changes` is read and written by nobody any more."""

from alembic import op

from chassis.migrations.ddl import open_to, schema

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("DROP TABLE contact_changes")
    op.execute(
        "CREATE INDEX syncs_to_go_on_with ON syncs (lease_until) WHERE status IN ('pending', 'running', 'waiting')"
    )
    op.execute("CREATE INDEX syncs_ended ON syncs USING brin (finished_at)")
    scheduler = f"{schema()}_scheduler"
    open_to(scheduler, "connections", "SELECT", ["organization_id", "id", "provider"])
    open_to(scheduler, "sync_positions", "SELECT", ["organization_id", "connection_id", "due_at"])
    open_to(
        scheduler,
        "syncs",
        "SELECT, DELETE",
        ["organization_id", "connection_id", "status", "lease_until", "finished_at"],
    )
