"""Whose seeds of one-time passwords are to be sealed again, which no organization sees all of."""

from alembic import op

from chassis.migrations.ddl import open_to, schema

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    scheduler = f"{schema()}_scheduler"
    open_to(scheduler, "second_factors", "SELECT", columns=["user_id", "sealed_seed"])
    op.execute(f"GRANT UPDATE (sealed_seed) ON second_factors TO {scheduler}")
