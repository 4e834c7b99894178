"""The facts that webhooks tell of."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_chassis_tables, open_to, protect, schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables()
    op.execute(f"""
        CREATE TABLE events (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            type text NOT NULL,
            payload bytea STORAGE EXTENDED NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX events_age ON events USING brin (received_at)")
    protect("events", "SELECT, INSERT")
    open_to(f"{schema()}_scheduler", "events", "SELECT, DELETE", ["received_at"])
