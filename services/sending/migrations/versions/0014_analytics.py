"""What becomes of messages by hour, and for how long events are kept."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE message_counts (
            {ORGANIZATION_ID},
            hour timestamptz NOT NULL,
            status text NOT NULL,
            messages bigint NOT NULL,
            PRIMARY KEY (organization_id, hour, status)
        )
    """)
    protect("message_counts", "SELECT, INSERT, UPDATE")
    # An organization that has events is looked at every day: those that are older than its plan keeps them go.
    op.execute(f"""
        CREATE TABLE event_retention (
            {ORGANIZATION_ID},
            next_look_at timestamptz NOT NULL DEFAULT now() + interval '1 day',
            PRIMARY KEY (organization_id)
        )
    """)
    op.execute("CREATE INDEX event_retention_due ON event_retention (next_look_at)")
    protect("event_retention", "SELECT, INSERT, UPDATE")
    open_to(f"{schema()}_scheduler", "event_retention", "SELECT", ["organization_id", "next_look_at"])
