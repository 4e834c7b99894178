"""The audit trail as a chain: each event carries the hash of the one before, so that tampering shows."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect

revision = "0002"
down_revision = "0001"

# chassis.context.PLATFORM; written out, since a migration never changes.
_PLATFORM = "'00000000-0000-7000-8000-000000000000'"


def upgrade() -> None:
    # The platform has not been opened to anybody yet: there is no trail to carry over.
    op.execute("DROP TABLE audit_events")
    op.execute(f"""
        CREATE TABLE audit_events (
            {ORGANIZATION_ID},
            sequence bigint NOT NULL CHECK (sequence > 0),
            id uuid NOT NULL,
            occurred_at timestamptz NOT NULL,
            act text NOT NULL,
            actor_kind text NOT NULL,
            actor_id text NOT NULL,
            role text NOT NULL,
            client_address text NOT NULL,
            target_id uuid NOT NULL,
            before jsonb,
            after jsonb,
            request_id text NOT NULL,
            previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
            hash bytea NOT NULL CHECK (length(hash) = 32),
            PRIMARY KEY (organization_id, sequence),
            UNIQUE (organization_id, id),
            FOREIGN KEY (organization_id) REFERENCES organizations
        )
    """)
    protect("audit_events", "SELECT, INSERT")
    op.execute(f"""
        CREATE INDEX audit_events_of_operators ON audit_events (id)
        WHERE role = 'SUPER_ADMIN' OR organization_id = {_PLATFORM}
    """)
    open_to("identity_platform", "audit_events", "SELECT")
