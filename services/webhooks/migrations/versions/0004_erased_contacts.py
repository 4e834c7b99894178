"""Who has been erased, so that nothing of them is kept that comes later."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Ids alone, for good: what an operator replays may be of any age.
    op.execute(f"""
        CREATE TABLE erased_contacts (
            {ORGANIZATION_ID},
            contact_id uuid NOT NULL,
            erased_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, contact_id)
        )
    """)
    protect("erased_contacts", "SELECT, INSERT")
