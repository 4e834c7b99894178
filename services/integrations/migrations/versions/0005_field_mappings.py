"""Field mappings: which fields of contacts and properties of a CRM are kept in step, and how."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE connections ADD COLUMN mappings_made integer NOT NULL DEFAULT 0")
    op.execute(f"""
        CREATE TABLE field_mappings (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            number integer NOT NULL,
            field text NOT NULL,
            property text NOT NULL,
            direction text NOT NULL CHECK (direction IN ('both', 'to_crm', 'from_crm')),
            winner text NOT NULL CHECK (winner IN ('ours', 'crm', 'newest')),
            PRIMARY KEY (organization_id, connection_id, number),
            UNIQUE (organization_id, connection_id, field),
            UNIQUE (organization_id, connection_id, property),
            FOREIGN KEY (organization_id, connection_id) REFERENCES connections (organization_id, id) ON DELETE CASCADE
        )
    """)
    protect("field_mappings")
