"""Data keys of organizations, by which their domains' keys and their relays' passwords are sealed."""

from chassis.migrations.ddl import create_data_keys, open_to, schema

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    create_data_keys()
    # Whose values there are to be sealed again.
    for table in ("dkim_keys", "ip_pool_addresses"):
        open_to(f"{schema()}_scheduler", table, "SELECT", columns=["organization_id"])
