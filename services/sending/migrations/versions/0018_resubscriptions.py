"""Only the recipient lifts an opt-out: the database lets one go for a confirmed re-subscription on the ledger, and for nothing else.

Takes a stop of suppression: the version before takes opt-outs off the list without an entry on the ledger.
"""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    _create_ledger()
    _keep_opt_outs()


def _create_ledger() -> None:
    op.execute(f"""
        CREATE TABLE resubscriptions (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            confirmed_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            -- What proves it: the event that tells of a form's confirmation, or the link in a mail to the address, by its end.
            event_id uuid,
            link_good_until timestamptz,
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, event_id),
            -- What is dated ahead would end opt-outs that are yet to come.
            CHECK (confirmed_at <= recorded_at),
            CHECK (num_nonnulls(event_id, link_good_until) = 1),
            CHECK (confirmed_at < link_good_until)
        )
    """)
    op.execute(
        "CREATE INDEX resubscriptions_of_address ON resubscriptions (organization_id, email_digest, confirmed_at)"
    )
    # Whoever works with the list can read the ledger and not write it; whoever writes it can do nothing else.
    protect("resubscriptions", "SELECT")
    open_to(
        f"{schema()}_consent",
        "resubscriptions",
        "INSERT",
        ["organization_id", "email_digest", "confirmed_at", "event_id", "link_good_until"],
    )


def _keep_opt_outs() -> None:
    # The names are whole: a temporary table is found before any other, and everybody may make one.
    op.execute(f"""
        CREATE FUNCTION keep_opt_out() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND EXISTS (
                SELECT FROM {schema()}.resubscriptions AS resubscription
                WHERE resubscription.organization_id = OLD.organization_id
                  AND resubscription.email_digest = OLD.email_digest
                  AND resubscription.confirmed_at > OLD.reaffirmed_at
            ) THEN
                RETURN OLD;
            END IF;
            RAISE restrict_violation USING
                MESSAGE = 'only the recipient lifts an opt-out',
                HINT = 'It takes a confirmed re-subscription on the ledger, later than the opt-out was last said.',
                SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER only_the_recipient_lifts_an_opt_out BEFORE DELETE ON suppressions FOR EACH ROW
        WHEN (OLD.reason IN ('unsubscribe', 'complaint')) EXECUTE FUNCTION keep_opt_out()
    """)
    op.execute("""
        CREATE TRIGGER an_opt_out_stays_what_it_is BEFORE UPDATE ON suppressions FOR EACH ROW
        WHEN (OLD.reason IN ('unsubscribe', 'complaint') AND (
            (NEW.organization_id, NEW.email_digest, NEW.reason)
                IS DISTINCT FROM (OLD.organization_id, OLD.email_digest, OLD.reason)
            OR NEW.reaffirmed_at < OLD.reaffirmed_at
        )) EXECUTE FUNCTION keep_opt_out()
    """)
