"""Sending domains and the keys that sign their mail."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE domains (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            -- In ASCII and small letters.
            name text NOT NULL CHECK (name = lower(name)),
            status text NOT NULL CHECK (status IN ('pending', 'verified', 'failed')),
            -- What was found of its records at the last check: by record, state and detail.
            findings jsonb NOT NULL DEFAULT '{{}}',
            failures integer NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            verified_at timestamptz,
            checked_at timestamptz,
            next_check_at timestamptz NOT NULL DEFAULT now() + interval '10 minutes',
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, name)
        )
    """)
    op.execute("CREATE INDEX domains_to_check ON domains (next_check_at)")
    protect("domains")
    open_to(f"{schema()}_scheduler", "domains", "SELECT", ["organization_id", "id", "next_check_at"])
    op.execute(f"""
        CREATE TABLE dkim_keys (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            domain_id uuid NOT NULL,
            selector text NOT NULL,
            algorithm text NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
            sealed_key bytea NOT NULL,
            public_key text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            -- Since when its record is in the DNS: only then it signs.
            found_at timestamptz,
            -- Since when a newer one signs in its place.
            retired_at timestamptz,
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, domain_id, selector),
            FOREIGN KEY (organization_id, domain_id) REFERENCES domains ON DELETE CASCADE
        )
    """)
    protect("dkim_keys")
