"""Whose an account of a CRM is, for whoever hears from the CRM that something has changed there."""

from alembic import op

from chassis.migrations.ddl import schema

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("CREATE INDEX connections_by_account ON connections (provider, account_id)")
    op.execute(f"GRANT SELECT (account_id) ON connections TO {schema()}_scheduler")
