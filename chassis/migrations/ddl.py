"""What a migration says about a table besides its columns: whose rows are whose, and who may see which.

Each function works on the schema of the running migration and names its roles: `<schema>_app`, `<schema>_relay`,
`<schema>_scheduler`. See the README for the idiom.
"""

from collections.abc import Mapping, Sequence

from alembic import op

# As a sub-select it is evaluated once a statement, not once a row; after a transaction the setting is '', not NULL.
_CURRENT = "(SELECT nullif(current_setting('app.organization_id', true), '')::uuid)"

# The first column of every tenant table. Inserts leave it out: the session's organization fills it.
ORGANIZATION_ID = (
    "organization_id uuid NOT NULL DEFAULT nullif(current_setting('app.organization_id', true), '')::uuid"
)


def schema() -> str:
    """The schema that the running migration belongs to."""
    return str(op.get_context().version_table_schema)


def protect(table: str, privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Make it a tenant table: the app role may do this with its rows, each in its own organization only."""
    app = f"{schema()}_app"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenant ON {table} FOR ALL TO {app} "
        f"USING (organization_id = {_CURRENT}) WITH CHECK (organization_id = {_CURRENT})"
    )
    # TRUNCATE ignores policies, and REFERENCES would let a foreign key look past them.
    op.execute(f"GRANT {privileges} ON {table} TO {app}")


def open_to(role: str, table: str, privileges: str, columns: Sequence[str] | None = None) -> None:
    """Let a named role see a tenant table's rows of all organizations, with these privileges.

    `columns` narrows SELECT, INSERT and UPDATE; DELETE knows no columns. Each use needs its line in
    `deploy/database/roles.toml`.
    """
    op.execute(
        f"CREATE POLICY across_tenants_{role} ON {table} FOR ALL TO {role} USING (true) WITH CHECK (true)"
    )
    _grant(role, table, privileges, columns)


def platform_table(table: str, grants: Mapping[str, str]) -> None:
    """Make it a table that belongs to no organization, with these privileges by role and to nobody else."""
    for role, privileges in grants.items():
        _grant(role, table, privileges, None)


def _grant(role: str, table: str, privileges: str, columns: Sequence[str] | None) -> None:
    words = [privilege.strip() for privilege in privileges.split(",")]
    narrowed = f" ({', '.join(columns)})" if columns else ""
    listed = ", ".join(word if word.upper() == "DELETE" else word + narrowed for word in words)
    op.execute(f"GRANT {listed} ON {table} TO {role}")


def create_chassis_tables() -> None:
    """Create outbox, inbox, idempotency_keys and dead_letters: each service's first migration begins with this."""
    _create_outbox()
    _create_inbox()
    _create_idempotency_keys()
    _create_dead_letters()


def _create_outbox() -> None:
    op.execute(f"""
        CREATE TABLE outbox (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            domain text NOT NULL,
            subject text NOT NULL,
            envelope bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            published_at timestamptz,
            PRIMARY KEY (organization_id, id)
        )
    """)
    # Small, since what is published leaves it: the relay's look costs nothing when there is nothing to do.
    op.execute("CREATE INDEX outbox_waiting ON outbox (domain, id) WHERE published_at IS NULL")
    op.execute("CREATE INDEX outbox_age ON outbox USING brin (created_at)")
    protect("outbox", "SELECT, INSERT")
    open_to(f"{schema()}_relay", "outbox", "SELECT, UPDATE, DELETE")


def _create_inbox() -> None:
    op.execute(f"""
        CREATE TABLE inbox (
            {ORGANIZATION_ID},
            reader text NOT NULL,
            event_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, reader, event_id)
        )
    """)
    op.execute("CREATE INDEX inbox_age ON inbox USING brin (created_at)")
    protect("inbox", "SELECT, INSERT")
    open_to(f"{schema()}_scheduler", "inbox", "SELECT, DELETE", columns=["created_at"])


def _create_idempotency_keys() -> None:
    op.execute(f"""
        CREATE TABLE idempotency_keys (
            {ORGANIZATION_ID},
            key_digest bytea NOT NULL,
            method text NOT NULL,
            request_digest bytea NOT NULL,
            response bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, key_digest)
        )
    """)
    op.execute("CREATE INDEX idempotency_keys_age ON idempotency_keys USING brin (created_at)")
    protect("idempotency_keys", "SELECT, INSERT")
    open_to(f"{schema()}_scheduler", "idempotency_keys", "SELECT, DELETE", columns=["created_at"])


def _create_dead_letters() -> None:
    op.execute("""
        CREATE TABLE dead_letters (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            process text NOT NULL,
            stream text NOT NULL,
            subject text NOT NULL,
            envelope bytea NOT NULL,
            deliveries integer NOT NULL,
            error text NOT NULL,
            parked_at timestamptz NOT NULL DEFAULT now(),
            replay_requested_at timestamptz
        )
    """)
    platform_table(
        "dead_letters",
        {f"{schema()}_app": "INSERT", f"{schema()}_relay": "SELECT, UPDATE, DELETE"},
    )


def create_data_keys() -> None:
    """Create data_keys, which `chassis.vault` needs, with a line of `deploy/database/roles.toml` for the scheduler's role."""
    op.execute(f"""
        CREATE TABLE data_keys (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            version integer NOT NULL CHECK (version > 0),
            wrapped bytea NOT NULL,
            -- Which key-encryption key wrapped it: its keeper's name of it, and its version.
            wrapping_key text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, version)
        )
    """)
    protect("data_keys")
    # Whose keys are to be replaced or wrapped again; what is wrapped it does not see.
    open_to(
        f"{schema()}_scheduler",
        "data_keys",
        "SELECT",
        columns=["organization_id", "id", "version", "wrapping_key", "created_at"],
    )


def create_erasures(added_to: Sequence[str] = (), *, noted_by: str = "scheduler") -> None:
    """Create erasures, which `chassis.erasure` needs, with lines of `deploy/database/roles.toml` for the scheduler's role and `noted_by`.

    `added_to` are the tables from which the app role may not delete: an organization's rows go from them, too, and from those of the
    chassis, but only when it is erased. `noted_by` is the role of the schema that notes that, and nothing else of it.
    """
    op.execute(f"""
        CREATE TABLE erasures (
            {ORGANIZATION_ID},
            asked_at timestamptz NOT NULL DEFAULT now(),
            -- When nothing was left for the first time.
            erased_at timestamptz,
            -- What was under way may bring rows for a while.
            next_look_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id)
        )
    """)
    op.execute("CREATE INDEX erasures_due ON erasures (next_look_at)")
    # Whoever deletes does not say whose rows may be deleted.
    protect("erasures", "SELECT, UPDATE (erased_at, next_look_at)")
    scheduler, noter = f"{schema()}_scheduler", f"{schema()}_{noted_by}"
    open_to(scheduler, "erasures", "SELECT", columns=["organization_id", "next_look_at"])
    if noter == scheduler:
        _grant(noter, "erasures", "INSERT", ["organization_id"])
    else:
        open_to(noter, "erasures", "INSERT", columns=["organization_id"])
    for table in ("outbox", "inbox", "idempotency_keys", *added_to):
        only_add_to(table)


def create_standstills() -> None:
    """Create standstills, which `chassis.standstill` needs, with a line of `deploy/database/roles.toml` for the scheduler's role."""
    op.execute(f"""
        CREATE TABLE standstills (
            {ORGANIZATION_ID},
            stands_still boolean NOT NULL,
            said_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id)
        )
    """)
    protect("standstills", "SELECT, INSERT, UPDATE")
    # Of whom nothing is due.
    open_to(f"{schema()}_scheduler", "standstills", "SELECT", columns=["organization_id", "stands_still"])


def only_add_to(table: str) -> None:
    """Let the app role delete from a table when its organization is erased, and else never; needs its name under `added_to` in
    `deploy/database/roles.toml`.
    """
    app = f"{schema()}_app"
    # Restrictive: it narrows what the tenant's policy lets through. Of erasures, too, an organization sees its own row alone.
    op.execute(
        f"CREATE POLICY erased ON {table} AS RESTRICTIVE FOR DELETE TO {app} USING (EXISTS (SELECT FROM erasures))"
    )
    op.execute(f"GRANT DELETE ON {table} TO {app}")
