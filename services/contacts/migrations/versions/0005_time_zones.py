"""By which clocks contacts live."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE contacts ADD time_zone text NOT NULL DEFAULT ''")
