"""What becomes of messages by hour."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0018"
down_revision = "0015"


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
