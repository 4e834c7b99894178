"""Organizations that stand still."""

from chassis.migrations.ddl import create_standstills

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    create_standstills()
