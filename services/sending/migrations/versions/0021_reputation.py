"""Why a campaign was paused, and until when an operator lets an organization send in spite of its reputation."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("ALTER TABLE campaigns ADD pause_reason text NOT NULL DEFAULT ''")
    op.execute(f"""
        CREATE TABLE reputation_overrides (
            {ORGANIZATION_ID},
            until timestamptz NOT NULL,
            PRIMARY KEY (organization_id)
        )
    """)
    protect("reputation_overrides")
