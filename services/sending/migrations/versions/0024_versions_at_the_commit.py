"""The list's version is counted as a transaction commits: who changes the list waits for others who do for no longer than a commit takes."""

from alembic import op

from chassis.migrations.ddl import schema

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    for happened in ("insert", "delete"):
        op.execute(f"DROP TRIGGER list_changed_by_{happened} ON suppressions")
    op.execute("DROP FUNCTION count_list_change()")
    # Once in a transaction, however many rows it changed.
    op.execute(f"""
        CREATE FUNCTION count_list_change() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            organization uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.organization_id ELSE NEW.organization_id END;
            change text := pg_current_xact_id()::text || organization::text;
        BEGIN
            IF current_setting('sending.list_change', true) IS DISTINCT FROM change THEN
                INSERT INTO {schema()}.suppression_list_versions AS known (organization_id, version)
                VALUES (organization, 1)
                ON CONFLICT (organization_id) DO UPDATE SET version = known.version + 1;
                PERFORM set_config('sending.list_change', change, true);
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608 - of our own names alone
    op.execute("""
        CREATE CONSTRAINT TRIGGER list_changed AFTER INSERT OR DELETE ON suppressions
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_list_change()
    """)
