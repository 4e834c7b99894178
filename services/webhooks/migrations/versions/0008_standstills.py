"""Organizations that stand still."""

from chassis.migrations.ddl import create_standstills

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    create_standstills()
