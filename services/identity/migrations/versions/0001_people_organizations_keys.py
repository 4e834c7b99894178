"""Organizations, the people in them, their sessions, API keys and the audit trail."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_chassis_tables, open_to, protect

revision = "0001"
down_revision = None

# chassis.context.PLATFORM; written out, since a migration never changes.
_PLATFORM = "'00000000-0000-7000-8000-000000000000'"


def upgrade() -> None:
    create_chassis_tables()
    _organizations()
    _memberships()
    _users()
    _sessions()
    _api_keys()
    _audit_events()


def _organizations() -> None:
    op.execute(f"""
        CREATE TABLE organizations (
            {ORGANIZATION_ID},
            name text NOT NULL,
            plan text NOT NULL CHECK (plan IN ('free', 'starter', 'pro', 'enterprise')),
            suspended_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id)
        )
    """)
    protect("organizations")
    open_to("identity_lookup", "organizations", "SELECT")
    open_to("identity_platform", "organizations", "SELECT")


def _memberships() -> None:
    # No foreign key to users: it would not begin with the organization. Nobody may delete a user.
    op.execute(f"""
        CREATE TABLE memberships (
            {ORGANIZATION_ID},
            user_id uuid NOT NULL,
            role text NOT NULL CHECK (role IN ('MEMBER', 'ORG_ADMIN', 'SUPER_ADMIN')),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, user_id),
            FOREIGN KEY (organization_id) REFERENCES organizations,
            CONSTRAINT operators_and_nobody_else_in_the_platforms_own
                CHECK ((role = 'SUPER_ADMIN') = (organization_id = {_PLATFORM}))
        )
    """)
    op.execute("CREATE INDEX memberships_by_user ON memberships (user_id)")
    protect("memberships")
    open_to("identity_lookup", "memberships", "SELECT")


def _users() -> None:
    op.execute("""
        CREATE TABLE users (
            id uuid PRIMARY KEY,
            email text NOT NULL,
            email_digest bytea NOT NULL UNIQUE,
            name text NOT NULL,
            password_hash text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    # A platform table, and yet a tenant sees, adds and changes its own members only, and no hash.
    op.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE users FORCE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY members ON users FOR ALL TO identity_app
        USING (EXISTS (SELECT FROM memberships WHERE user_id = users.id))
        WITH CHECK (EXISTS (SELECT FROM memberships WHERE user_id = users.id))
    """)
    op.execute("""
        GRANT INSERT, SELECT (id, email, name, created_at), UPDATE (name, password_hash)
        ON users TO identity_app
    """)
    open_to("identity_lookup", "users", "SELECT")


def _sessions() -> None:
    # A session ends with its membership, and its refresh tokens end with it.
    op.execute(f"""
        CREATE TABLE sessions (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            user_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, user_id) REFERENCES memberships ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX sessions_by_id ON sessions (id)")
    op.execute("CREATE INDEX sessions_by_user ON sessions (organization_id, user_id)")
    protect("sessions")
    open_to("identity_lookup", "sessions", "SELECT")
    op.execute(f"""
        CREATE TABLE refresh_tokens (
            {ORGANIZATION_ID},
            digest bytea NOT NULL CHECK (length(digest) = 32),
            session_id uuid NOT NULL,
            issued_at timestamptz NOT NULL DEFAULT now(),
            replaced_at timestamptz,
            successor_salt bytea,
            PRIMARY KEY (organization_id, digest),
            FOREIGN KEY (organization_id, session_id) REFERENCES sessions ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX refresh_tokens_by_digest ON refresh_tokens (digest)")
    op.execute("CREATE INDEX refresh_tokens_by_session ON refresh_tokens (organization_id, session_id)")
    protect("refresh_tokens")
    open_to("identity_lookup", "refresh_tokens", "SELECT", ["organization_id", "digest", "session_id"])


def _api_keys() -> None:
    op.execute(f"""
        CREATE TABLE api_keys (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            prefix text NOT NULL,
            secret_digest bytea NOT NULL CHECK (length(secret_digest) = 32),
            scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            last_used_at timestamptz,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id) REFERENCES organizations
        )
    """)
    op.execute("CREATE INDEX api_keys_by_id ON api_keys (id)")
    protect("api_keys")
    # What a key may do is fixed at its creation: no statement of the service can change it.
    op.execute("REVOKE UPDATE ON api_keys FROM identity_app")
    op.execute("GRANT UPDATE (last_used_at) ON api_keys TO identity_app")
    open_to("identity_lookup", "api_keys", "SELECT")


def _audit_events() -> None:
    op.execute(f"""
        CREATE TABLE audit_events (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            occurred_at timestamptz NOT NULL DEFAULT now(),
            act text NOT NULL,
            actor_kind text NOT NULL,
            actor_id text NOT NULL,
            target_id uuid NOT NULL,
            request_id text NOT NULL,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id) REFERENCES organizations
        )
    """)
    protect("audit_events")
    op.execute("REVOKE UPDATE, DELETE ON audit_events FROM identity_app")
