"""How many contacts an organization holds, and the limit under which an import was asked for."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE usage (
            {ORGANIZATION_ID},
            contacts bigint NOT NULL CHECK (contacts >= 0),
            PRIMARY KEY (organization_id)
        )
    """)
    protect("usage", "SELECT, INSERT, UPDATE")
    # An import that was asked for before there were limits may finish.
    op.execute("ALTER TABLE imports ADD contact_limit bigint NOT NULL DEFAULT 9223372036854775807")
    op.execute("ALTER TABLE imports ALTER contact_limit DROP DEFAULT")
