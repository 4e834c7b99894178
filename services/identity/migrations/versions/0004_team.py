"""Invitations, and a name for a membership that says nothing about its organization."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE memberships ADD id uuid NOT NULL DEFAULT uuidv7()")
    op.execute("ALTER TABLE memberships ADD UNIQUE (organization_id, id)")
    op.execute("CREATE INDEX memberships_by_id ON memberships (id)")
    op.execute(f"""
        CREATE TABLE invitations (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            email text NOT NULL,
            email_digest bytea NOT NULL,
            role text NOT NULL CHECK (role IN ('MEMBER', 'ORG_ADMIN')),
            token_digest bytea NOT NULL CHECK (length(token_digest) = 32),
            invited_by uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, email_digest),
            FOREIGN KEY (organization_id) REFERENCES organizations
        )
    """)
    op.execute("CREATE INDEX invitations_by_token ON invitations (token_digest)")
    protect("invitations")
    open_to("identity_lookup", "invitations", "SELECT")
