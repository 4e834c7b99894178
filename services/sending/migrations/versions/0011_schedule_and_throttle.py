"""Campaigns start at a time, and go no faster than they may."""

from alembic import op

from chassis.migrations.ddl import schema

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE campaigns
        ADD send_at timestamptz,
        ADD messages_per_hour integer CHECK (messages_per_hour > 0),
        -- The throttle: nothing more of it is released before then.
        ADD next_release_at timestamptz,
        DROP CONSTRAINT campaigns_status_check,
        ADD CONSTRAINT campaigns_status_check CHECK (
            status IN ('draft', 'scheduled', 'sending', 'paused', 'cancelled', 'completed', 'failed')
        ) NOT VALID,
        ADD CHECK (status <> 'scheduled' OR send_at IS NOT NULL)
    """)
    op.execute("CREATE INDEX campaigns_scheduled ON campaigns (send_at) WHERE status = 'scheduled'")
    op.execute(f"GRANT SELECT (send_at, next_release_at) ON campaigns TO {schema()}_scheduler")
