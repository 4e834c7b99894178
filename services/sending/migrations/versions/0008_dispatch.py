"""A campaign's batches are held until the dispatch releases them."""

from alembic import op

from chassis.migrations.ddl import schema

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE batches DROP CONSTRAINT batches_status_check")
    op.execute("""
        ALTER TABLE batches ADD CONSTRAINT batches_status_check
        CHECK (status IN ('held', 'requested', 'approved', 'settled')) NOT VALID
    """)
    op.execute("ALTER TABLE batches ADD COLUMN size integer NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE batches ADD COLUMN tried boolean NOT NULL DEFAULT false")
    # What is released next, what is on its way, and whether anything is open at all.
    op.execute(
        "CREATE INDEX batches_held ON batches (organization_id, campaign_id, id) WHERE status = 'held'"
    )
    op.execute("""
        CREATE INDEX batches_on_their_way ON batches (organization_id, campaign_id)
        WHERE status IN ('requested', 'approved') AND NOT tried
    """)
    op.execute(
        "CREATE INDEX batches_open ON batches (organization_id, campaign_id, id) WHERE status <> 'settled'"
    )
    # What is held is due to nobody: the sweeps look past it.
    op.execute("DROP INDEX batches_due")
    op.execute("CREATE INDEX batches_due ON batches (due_at) WHERE status IN ('requested', 'approved')")
    op.execute(f"GRANT SELECT (campaign_id) ON batches TO {schema()}_scheduler")
