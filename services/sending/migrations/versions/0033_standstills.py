"""Organizations that stand still."""

from chassis.migrations.ddl import create_standstills

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    create_standstills()
