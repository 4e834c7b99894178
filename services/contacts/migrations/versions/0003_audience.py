"""Custom fields, tags, what happened to contacts, segments, bulk changes, exports and forms."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _extend_contacts()
    _create_tags()
    _create_events()
    _create_segments()
    _create_bulk_changes()
    _extend_imports()
    _create_exports()
    _create_forms()


def _extend_contacts() -> None:
    # By the numbers of custom fields, as text: a number is short, and a field of a deleted one's key gets another.
    op.execute("ALTER TABLE contacts ADD custom_fields jsonb NOT NULL DEFAULT '{}'")
    op.execute(f"""
        CREATE TABLE custom_fields (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            number integer NOT NULL,
            key text NOT NULL,
            label text NOT NULL,
            type text NOT NULL CHECK (type IN ('text', 'number', 'boolean', 'date', 'choice')),
            choices text[] NOT NULL DEFAULT '{{}}',
            created_at timestamptz NOT NULL DEFAULT now(),
            deleted_at timestamptz,
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, number)
        )
    """)
    op.execute(
        "CREATE UNIQUE INDEX custom_fields_by_key ON custom_fields (organization_id, key) WHERE deleted_at IS NULL"
    )
    protect("custom_fields", "SELECT, INSERT, UPDATE")
    op.execute("ALTER TABLE memberships ADD source text NOT NULL DEFAULT 'api'")


def _create_tags() -> None:
    op.execute(f"""
        CREATE TABLE tags (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            folded_name text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, folded_name)
        )
    """)
    protect("tags")
    op.execute(f"""
        CREATE TABLE taggings (
            {ORGANIZATION_ID},
            tag_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            added_at timestamptz NOT NULL DEFAULT now(),
            source text NOT NULL,
            PRIMARY KEY (organization_id, tag_id, contact_id),
            FOREIGN KEY (organization_id, tag_id) REFERENCES tags ON DELETE CASCADE,
            FOREIGN KEY (organization_id, contact_id) REFERENCES contacts ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX taggings_of_contact ON taggings (organization_id, contact_id, tag_id)")
    protect("taggings", "SELECT, INSERT, DELETE")


def _create_events() -> None:
    # Append-only, and without anything by which a person could be known: it outlives the contact.
    op.execute(f"""
        CREATE TABLE contact_events (
            {ORGANIZATION_ID},
            contact_id uuid NOT NULL,
            id uuid NOT NULL DEFAULT uuidv7(),
            type text NOT NULL,
            occurred_at timestamptz NOT NULL DEFAULT now(),
            source text NOT NULL,
            source_id uuid,
            about_id uuid,
            text text NOT NULL DEFAULT '',
            PRIMARY KEY (organization_id, contact_id, id)
        )
    """)
    protect("contact_events", "SELECT, INSERT")
    op.execute(f"""
        CREATE TABLE consent_addresses (
            {ORGANIZATION_ID},
            contact_id uuid NOT NULL,
            event_id uuid NOT NULL,
            client_address text NOT NULL,
            PRIMARY KEY (organization_id, contact_id, event_id)
        )
    """)
    protect("consent_addresses", "SELECT, INSERT, DELETE")
    # The last time of each kind: with each campaign, and with any mail at all (the campaign of only zeros).
    op.execute(f"""
        CREATE TABLE engagements (
            {ORGANIZATION_ID},
            kind text NOT NULL CHECK (kind IN ('received', 'opened', 'clicked', 'bounced')),
            campaign_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, kind, campaign_id, contact_id) INCLUDE (last_at)
        )
    """)
    op.execute("CREATE INDEX engagements_of_contact ON engagements (organization_id, contact_id)")
    protect("engagements")


def _create_segments() -> None:
    op.execute(f"""
        CREATE TABLE segments (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            description text NOT NULL DEFAULT '',
            rule jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("segments")


def _create_bulk_changes() -> None:
    op.execute(f"""
        CREATE TABLE bulk_changes (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            status text NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed')),
            action text NOT NULL CHECK (action IN (
                'add_to_list', 'remove_from_list', 'add_tag', 'remove_tag', 'forget_field')),
            target_id uuid NOT NULL,
            rule jsonb,
            contact_ids uuid[],
            total_contacts bigint NOT NULL,
            processed_contacts bigint NOT NULL DEFAULT 0,
            changed_contacts bigint NOT NULL DEFAULT 0,
            failure text NOT NULL DEFAULT '',
            after_contact_id uuid,
            lease_token uuid,
            lease_until timestamptz,
            attempts integer NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            completed_at timestamptz,
            PRIMARY KEY (organization_id, id),
            CHECK (action = 'forget_field' OR (rule IS NULL) <> (contact_ids IS NULL))
        )
    """)
    op.execute(
        "CREATE INDEX bulk_changes_unfinished ON bulk_changes (organization_id, id) WHERE status IN ('pending', 'running')"
    )
    protect("bulk_changes", "SELECT, INSERT, UPDATE")
    open_to(
        "contacts_scheduler", "bulk_changes", "SELECT", ["organization_id", "id", "status", "lease_until"]
    )


def _extend_imports() -> None:
    op.execute("""
        ALTER TABLE imports
            ADD columns jsonb NOT NULL DEFAULT '{}',
            ADD tags text[] NOT NULL DEFAULT '{}',
            ADD dry_run boolean NOT NULL DEFAULT false,
            ADD only_new boolean NOT NULL DEFAULT false
    """)
    # A dry run writes no contact, so it notes which addresses it has met; gone when it ends.
    op.execute(f"""
        CREATE TABLE import_addresses (
            {ORGANIZATION_ID},
            import_id uuid NOT NULL,
            email_digest bytea NOT NULL,
            PRIMARY KEY (organization_id, import_id, email_digest)
        )
    """)
    protect("import_addresses", "SELECT, INSERT, DELETE")


def _create_exports() -> None:
    op.execute(f"""
        CREATE TABLE exports (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            list_id uuid,
            tag_id uuid,
            segment_id uuid,
            contact_id uuid,
            contact_count bigint NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("exports", "SELECT, INSERT")


def _create_forms() -> None:
    op.execute(f"""
        CREATE TABLE forms (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            title text NOT NULL,
            description text NOT NULL DEFAULT '',
            fields jsonb NOT NULL,
            list_ids uuid[] NOT NULL,
            tag_ids uuid[] NOT NULL,
            double_opt_in boolean NOT NULL,
            consent_text text NOT NULL,
            button_label text NOT NULL,
            success_message text NOT NULL DEFAULT '',
            from_name text NOT NULL DEFAULT '',
            from_email text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("forms")
    # Whose a form is, before an organization is known.
    open_to("contacts_lookup", "forms", "SELECT", ["organization_id", "id"])
    op.execute("CREATE INDEX forms_by_id ON forms (id)")
    op.execute(f"""
        CREATE TABLE form_submissions (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            form_id uuid NOT NULL,
            email text NOT NULL,
            email_digest bytea NOT NULL,
            first_name text NOT NULL DEFAULT '',
            last_name text NOT NULL DEFAULT '',
            custom_fields jsonb NOT NULL DEFAULT '{{}}',
            client_address text NOT NULL,
            consent_text text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            confirmed_at timestamptz,
            contact_id uuid,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, form_id) REFERENCES forms ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX form_submissions_of_form ON form_submissions (organization_id, form_id, id)")
    op.execute(
        "CREATE INDEX form_submissions_of_address ON form_submissions (organization_id, email_digest, created_at)"
    )
    op.execute(
        "CREATE INDEX form_submissions_of_client ON form_submissions (organization_id, client_address, created_at)"
    )
    op.execute(
        "CREATE INDEX form_submissions_unconfirmed ON form_submissions (created_at) WHERE confirmed_at IS NULL"
    )
    protect("form_submissions")
    open_to("contacts_scheduler", "form_submissions", "SELECT, DELETE", ["created_at", "confirmed_at"])
