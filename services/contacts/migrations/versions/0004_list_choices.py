"""Lists that people see, and the ones that they have left by their own choice."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect, schema

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE lists ADD is_public boolean NOT NULL DEFAULT false")
    op.execute(f"""
        CREATE TABLE list_refusals (
            {ORGANIZATION_ID},
            email_digest bytea NOT NULL,
            list_id uuid NOT NULL,
            refused_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, email_digest, list_id),
            FOREIGN KEY (organization_id, list_id) REFERENCES lists ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX list_refusals_of_list ON list_refusals (organization_id, list_id, email_digest)")
    protect("list_refusals", "SELECT, INSERT, DELETE")
    _bind_memberships()


def _bind_memberships() -> None:
    # Who writes memberships leaves out what is refused; whoever forgets to is stopped here, once a statement.
    # The names are whole: a temporary table is found before any other, and everybody may make one.
    op.execute(f"""
        CREATE FUNCTION keep_list_refusals() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM {schema()}.list_refusals AS refusal
                JOIN written ON written.organization_id = refusal.organization_id AND written.list_id = refusal.list_id
                JOIN {schema()}.contacts AS contact
                    ON contact.organization_id = refusal.organization_id AND contact.id = written.contact_id
                    AND contact.email_digest = refusal.email_digest
            ) THEN
                RAISE restrict_violation USING
                    MESSAGE = 'a contact has left the list by their own choice',
                    SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
            END IF;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER nobody_is_put_back_who_has_left AFTER INSERT ON memberships
        REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION keep_list_refusals()
    """)
