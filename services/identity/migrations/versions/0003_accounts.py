"""Accounts: proof of addresses, tokens in mails, the second factor; where sessions come from and when they were used."""

from alembic import op

revision = "0003"
down_revision = "0002"

# As `users` has it: an organization sees and touches what belongs to its own members.
_MEMBERS = "EXISTS (SELECT FROM memberships WHERE memberships.user_id = {table}.user_id)"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE users
            ADD email_verified_at timestamptz,
            ADD password_changed_at timestamptz NOT NULL DEFAULT now()
    """)
    op.execute("""
        GRANT SELECT (email_verified_at, password_changed_at), UPDATE (email_verified_at, password_changed_at)
        ON users TO identity_app
    """)
    _sessions()
    _account_tokens()
    _second_factors()


def _sessions() -> None:
    op.execute("""
        ALTER TABLE sessions
            ADD last_used_at timestamptz NOT NULL DEFAULT now(),
            ADD client_address text NOT NULL DEFAULT '',
            ADD user_agent text NOT NULL DEFAULT ''
    """)
    op.execute("CREATE INDEX sessions_of_user ON sessions (user_id, id)")


def _account_tokens() -> None:
    op.execute("""
        CREATE TABLE account_tokens (
            digest bytea PRIMARY KEY CHECK (length(digest) = 32),
            user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
            purpose text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            -- One living token for each purpose: a new mail makes the older one void.
            UNIQUE (user_id, purpose)
        )
    """)
    _of_members("account_tokens", "SELECT, INSERT, UPDATE, DELETE")


def _second_factors() -> None:
    op.execute("""
        CREATE TABLE second_factors (
            user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
            sealed_seed bytea NOT NULL,
            confirmed_at timestamptz,
            -- The time step (RFC 6238) of the last code that was taken: none is taken twice.
            last_step bigint NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    _of_members("second_factors", "SELECT, INSERT, UPDATE, DELETE")
    op.execute("""
        CREATE TABLE recovery_codes (
            user_id uuid NOT NULL REFERENCES second_factors ON DELETE CASCADE,
            digest bytea NOT NULL CHECK (length(digest) = 32),
            PRIMARY KEY (user_id, digest)
        )
    """)
    _of_members("recovery_codes", "SELECT, INSERT, DELETE")


def _of_members(table: str, privileges: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    theirs = _MEMBERS.format(table=table)
    op.execute(
        f"CREATE POLICY members ON {table} FOR ALL TO identity_app USING ({theirs}) WITH CHECK ({theirs})"
    )
    op.execute(f"GRANT {privileges} ON {table} TO identity_app")
    op.execute(
        f"CREATE POLICY across_tenants_identity_lookup ON {table} FOR ALL TO identity_lookup "
        "USING (true) WITH CHECK (true)"
    )
    op.execute(f"GRANT SELECT ON {table} TO identity_lookup")
