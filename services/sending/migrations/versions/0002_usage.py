"""How many e-mails count in a billing cycle, and since when a campaign waits for the next one."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE email_usage (
            {ORGANIZATION_ID},
            cycle_started_at timestamptz NOT NULL,
            emails bigint NOT NULL CHECK (emails >= 0),
            PRIMARY KEY (organization_id, cycle_started_at)
        )
    """)
    protect("email_usage", "SELECT, INSERT, UPDATE")
    # The cycle in which a batch's e-mails count; none where they do not.
    op.execute("ALTER TABLE batches ADD usage_cycle timestamptz")
    op.execute("ALTER TABLE campaigns ADD waiting_for_quota_since timestamptz")
