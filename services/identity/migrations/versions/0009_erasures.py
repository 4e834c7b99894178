"""Organizations that are to be erased, and those that are."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_erasures, open_to, protect

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    create_erasures()
    op.execute(f"""
        CREATE TABLE erasure_requests (
            {ORGANIZATION_ID},
            erases_at timestamptz NOT NULL,
            erased_at timestamptz,
            PRIMARY KEY (organization_id)
        )
    """)
    protect("erasure_requests")
    # Whose time has come.
    open_to(
        "identity_scheduler",
        "erasure_requests",
        "SELECT",
        columns=["organization_id", "erases_at", "erased_at"],
    )
