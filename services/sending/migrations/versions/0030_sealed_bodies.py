"""What a mail says whose link lets in whoever has it, sealed."""

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.execute("ALTER TABLE message_contents ADD COLUMN sealed_body bytea")
