"""Campaigns can be held."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE campaigns DROP CONSTRAINT campaigns_status_check")
    op.execute("""
        ALTER TABLE campaigns ADD CONSTRAINT campaigns_status_check
        CHECK (status IN ('draft', 'sending', 'paused', 'completed', 'failed')) NOT VALID
    """)
