"""Data keys of organizations, by which their endpoints' secrets are sealed."""

from chassis.migrations.ddl import create_data_keys

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    create_data_keys()
