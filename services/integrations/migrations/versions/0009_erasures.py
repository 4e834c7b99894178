"""Organizations that are erased."""

from chassis.migrations.ddl import create_erasures

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    create_erasures()
