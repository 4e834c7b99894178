"""Reports may be posts of providers: a report says whose post it is."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    # Empty for a mail.
    op.execute("ALTER TABLE feedback_reports ADD provider text NOT NULL DEFAULT ''")
