"""Until when it was looked whose date has come, of each workflow that begins with one."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE workflow_occasions (
            {ORGANIZATION_ID},
            workflow_id uuid NOT NULL,
            looked_until timestamptz NOT NULL,
            PRIMARY KEY (organization_id, workflow_id),
            FOREIGN KEY (organization_id, workflow_id) REFERENCES workflows ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX workflow_occasions_due ON workflow_occasions (looked_until)")
    protect("workflow_occasions")
    columns = ["organization_id", "workflow_id", "looked_until"]
    open_to(f"{schema()}_scheduler", "workflow_occasions", "SELECT", columns)
