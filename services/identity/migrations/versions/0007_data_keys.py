"""Data keys of organizations, by which what checks their derived keys is sealed."""

from alembic import op

from chassis.migrations.ddl import create_data_keys, open_to, schema

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    create_data_keys()
    # Whose values there are to be sealed again; what a key may do stays as it was made.
    open_to(f"{schema()}_scheduler", "api_keys", "SELECT", columns=["organization_id"])
    op.execute(f"GRANT UPDATE (sealed_chain_key) ON api_keys TO {schema()}_app")
