"""In which organizations a rule put addresses on the list."""

from alembic import op

from chassis.migrations.ddl import open_to, schema

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    columns = ["organization_id", "reason", "rule", "source", "created_at"]
    open_to(f"{schema()}_scheduler", "suppressions", "SELECT", columns)
    op.execute(
        "CREATE INDEX suppressions_by_rule ON suppressions (rule, created_at) WHERE reason = 'hard_bounce'"
    )
