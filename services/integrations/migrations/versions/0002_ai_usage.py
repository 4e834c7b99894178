"""What language models have cost."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE ai_usage (
            {ORGANIZATION_ID},
            cycle_started_at timestamptz NOT NULL,
            tokens bigint NOT NULL CHECK (tokens >= 0),
            PRIMARY KEY (organization_id, cycle_started_at)
        )
    """)
    protect("ai_usage")
    op.execute(f"""
        CREATE TABLE ai_tokens_set_aside (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            cycle_started_at timestamptz NOT NULL,
            tokens bigint NOT NULL CHECK (tokens >= 0),
            free_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("ai_tokens_set_aside")
