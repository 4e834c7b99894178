"""What webhooks have told of somebody goes when they are erased, and does not wait until their organization is."""

from alembic import op

revision = "0007"
down_revision = "0006"
# Of 0006, which came after it.
unused_since = "0.1.0"


def upgrade() -> None:
    op.execute("DROP POLICY erased ON events")
