"""Campaigns try several subjects on a part of their audience."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE campaigns ADD subject_test jsonb, ADD test_ends_at timestamptz, ADD winner smallint"
    )
    op.execute("ALTER TABLE messages ADD variant smallint")
    op.execute("""
        CREATE INDEX messages_of_test ON messages (organization_id, campaign_id, variant) WHERE variant IS NOT NULL
    """)
    # Those of a test go first.
    op.execute("ALTER TABLE batches ADD of_test boolean NOT NULL DEFAULT false")
    op.execute("DROP INDEX batches_held")
    op.execute("""
        CREATE INDEX batches_held ON batches (organization_id, campaign_id, of_test DESC, id) WHERE status = 'held'
    """)
