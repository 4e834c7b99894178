"""Campaigns can be cancelled."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE campaigns DROP CONSTRAINT campaigns_status_check")
    op.execute("""
        ALTER TABLE campaigns ADD CONSTRAINT campaigns_status_check
        CHECK (status IN ('draft', 'sending', 'paused', 'cancelled', 'completed', 'failed')) NOT VALID
    """)
    op.execute("""
        CREATE INDEX campaigns_being_cancelled ON campaigns (organization_id, id)
        WHERE status = 'cancelled' AND NOT audience_complete
    """)
    op.execute("ALTER TABLE messages DROP CONSTRAINT messages_veto_reason_check")
    op.execute("""
        ALTER TABLE messages ADD CONSTRAINT messages_veto_reason_check CHECK (
            veto_reason IN ('unsubscribe', 'hard_bounce', 'complaint', 'manual', 'erased', 'cancelled')
        ) NOT VALID
    """)
