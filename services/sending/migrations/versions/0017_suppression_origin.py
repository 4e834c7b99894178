"""Who put an address on the list."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    # Of what is on the list already nobody has noted it.
    op.execute("""
        ALTER TABLE suppressions
        ADD actor_kind text NOT NULL DEFAULT '',
        ADD actor_id text NOT NULL DEFAULT ''
    """)
