"""Contacts, lists and imports."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, create_chassis_tables, open_to, protect

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables()
    _create_contacts()
    _create_lists()
    _create_imports()


def _create_contacts() -> None:
    # Every import touches its contacts' rows: room on the page lets it do so without touching the indexes.
    op.execute(f"""
        CREATE TABLE contacts (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            email text NOT NULL,
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            first_name text NOT NULL DEFAULT '',
            last_name text NOT NULL DEFAULT '',
            status text NOT NULL CHECK (status IN ('subscribed', 'unsubscribed', 'bounced', 'complained')),
            last_import_id uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, email_digest)
        ) WITH (fillfactor = 85)
    """)
    op.execute("CREATE INDEX contacts_by_status ON contacts (organization_id, status, id)")
    protect("contacts")
    op.execute(f"""
        CREATE TABLE suppressed_addresses (
            {ORGANIZATION_ID},
            email_digest bytea NOT NULL,
            reason text NOT NULL CHECK (reason IN ('complaint', 'unsubscribe', 'hard_bounce')),
            in_force boolean NOT NULL,
            event_id uuid NOT NULL,
            PRIMARY KEY (organization_id, email_digest, reason)
        )
    """)
    protect("suppressed_addresses", "SELECT, INSERT, UPDATE")


def _create_lists() -> None:
    op.execute(f"""
        CREATE TABLE lists (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            description text NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("lists")
    op.execute(f"""
        CREATE TABLE memberships (
            {ORGANIZATION_ID},
            list_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            added_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, list_id, contact_id),
            FOREIGN KEY (organization_id, list_id) REFERENCES lists ON DELETE CASCADE,
            FOREIGN KEY (organization_id, contact_id) REFERENCES contacts ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX memberships_of_contact ON memberships (organization_id, contact_id, list_id)")
    protect("memberships", "SELECT, INSERT, DELETE")


def _create_imports() -> None:
    op.execute(f"""
        CREATE TABLE imports (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            status text NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed')),
            list_id uuid,
            size_bytes bigint NOT NULL,
            processed_rows integer NOT NULL DEFAULT 0,
            created_contacts integer NOT NULL DEFAULT 0,
            updated_contacts integer NOT NULL DEFAULT 0,
            duplicate_rows integer NOT NULL DEFAULT 0,
            failed_rows integer NOT NULL DEFAULT 0,
            failure text NOT NULL DEFAULT '',
            next_offset bigint NOT NULL DEFAULT 0,
            next_line integer NOT NULL DEFAULT 1,
            inside_refused_line boolean NOT NULL DEFAULT false,
            lease_token uuid,
            lease_until timestamptz,
            attempts integer NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            completed_at timestamptz,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, list_id) REFERENCES lists ON DELETE SET NULL (list_id)
        )
    """)
    op.execute("CREATE INDEX imports_of_list ON imports (organization_id, list_id) WHERE list_id IS NOT NULL")
    op.execute(
        "CREATE INDEX imports_unfinished ON imports (organization_id, id) WHERE status IN ('pending', 'running')"
    )
    protect("imports", "SELECT, INSERT, UPDATE")
    open_to("contacts_scheduler", "imports", "SELECT", ["organization_id", "id", "status", "lease_until"])
    # Files are read and deleted once: compressing them would cost more than it saves.
    op.execute(f"""
        CREATE TABLE import_parts (
            {ORGANIZATION_ID},
            import_id uuid NOT NULL,
            number integer NOT NULL,
            content bytea STORAGE EXTERNAL NOT NULL,
            PRIMARY KEY (organization_id, import_id, number),
            FOREIGN KEY (organization_id, import_id) REFERENCES imports ON DELETE CASCADE
        )
    """)
    protect("import_parts", "SELECT, INSERT, DELETE")
    op.execute(f"""
        CREATE TABLE import_row_errors (
            {ORGANIZATION_ID},
            import_id uuid NOT NULL,
            line integer NOT NULL,
            field text NOT NULL,
            message text NOT NULL,
            PRIMARY KEY (organization_id, import_id, line),
            FOREIGN KEY (organization_id, import_id) REFERENCES imports ON DELETE CASCADE
        )
    """)
    protect("import_row_errors", "SELECT, INSERT")
