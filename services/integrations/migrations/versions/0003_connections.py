"""Connections to CRMs, what they are connected with, who is on the way to agree, and what is to be revoked."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_data_keys, open_to, protect, schema

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    create_data_keys()
    _create_connections()
    _create_credentials()
    _create_authorizations()
    _create_revocations()


def _create_connections() -> None:
    op.execute(f"""
        CREATE TABLE connections (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            provider text NOT NULL,
            method text NOT NULL CHECK (method IN ('oauth', 'api_key')),
            status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'needs_authorization')),
            account_id text NOT NULL,
            account_name text NOT NULL,
            base_url text NOT NULL,
            scopes text[] NOT NULL DEFAULT '{{}}',
            connected_by uuid NOT NULL,
            connected_by_kind text NOT NULL CHECK (connected_by_kind IN ('user', 'api_key')),
            last_error text NOT NULL DEFAULT '',
            last_error_at timestamptz,
            last_sync_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, provider, account_id)
        )
    """)
    op.execute("CREATE INDEX connections_by_connector ON connections (organization_id, connected_by, id)")
    protect("connections")


def _create_credentials() -> None:
    # Apart from the connection, so that whoever changes that does not touch, nor see, what is sealed.
    op.execute(f"""
        CREATE TABLE credentials (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            version bigint NOT NULL DEFAULT 1,
            sealed_token bytea NOT NULL,
            sealed_refresh_token bytea,
            expires_at timestamptz,
            refreshing_until timestamptz,
            PRIMARY KEY (organization_id, connection_id),
            FOREIGN KEY (organization_id, connection_id) REFERENCES connections ON DELETE CASCADE
        )
    """)
    protect("credentials")
    # Who has any, for whoever replaces the keys that seal them.
    open_to(f"{schema()}_scheduler", "credentials", "SELECT", ["organization_id"])


def _create_authorizations() -> None:
    op.execute(f"""
        CREATE TABLE authorizations (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            provider text NOT NULL,
            sealed_verifier bytea NOT NULL,
            asked_by uuid NOT NULL,
            asked_by_kind text NOT NULL CHECK (asked_by_kind IN ('user', 'api_key')),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX authorizations_age ON authorizations USING brin (created_at)")
    protect("authorizations")
    open_to(f"{schema()}_scheduler", "authorizations", "SELECT, DELETE", ["organization_id", "expires_at"])


def _create_revocations() -> None:
    op.execute(f"""
        CREATE TABLE revocations (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            provider text NOT NULL,
            sealed_token bytea NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL DEFAULT now(),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX revocations_due ON revocations (due_at)")
    protect("revocations")
    open_to(
        f"{schema()}_scheduler",
        "revocations",
        "SELECT",
        ["organization_id", "id", "provider", "due_at", "created_at"],
    )
