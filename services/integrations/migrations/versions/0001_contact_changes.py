"""What has changed since the last sync."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_chassis_tables, protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables()
    op.execute(f"""
        CREATE TABLE contact_changes (
            {ORGANIZATION_ID},
            contact_id uuid NOT NULL,
            kind text NOT NULL CHECK (kind IN ('upserted', 'deleted')),
            event_id uuid NOT NULL,
            PRIMARY KEY (organization_id, contact_id)
        )
    """)
    op.execute("CREATE INDEX contact_changes_in_order ON contact_changes (organization_id, event_id)")
    protect("contact_changes")
