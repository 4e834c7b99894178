"""When an organization's campaigns and workflows send nothing, and how much marketing an address gets at most."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE sending_policies (
            {ORGANIZATION_ID},
            time_zone text NOT NULL,
            quiet_from time,
            quiet_until time,
            -- As moments: those that are, or come next.
            quiet_begins_at timestamptz,
            quiet_ends_at timestamptz,
            cap_messages integer CHECK (cap_messages BETWEEN 1 AND 100),
            cap_days integer CHECK (cap_days BETWEEN 1 AND 90),
            next_look_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id),
            CHECK (num_nulls(quiet_from, quiet_until, quiet_begins_at, quiet_ends_at) IN (0, 4)),
            CHECK (quiet_from <> quiet_until),
            CHECK ((cap_messages IS NULL) = (cap_days IS NULL))
        )
    """)
    protect("sending_policies", "SELECT, INSERT, UPDATE")
    columns = ["organization_id", "quiet_begins_at", "quiet_ends_at", "next_look_at"]
    open_to(f"{schema()}_scheduler", "sending_policies", "SELECT", columns)
    # Of organizations with a cap alone. Without a foreign key: a place is taken before its message is made.
    op.execute(f"""
        CREATE TABLE frequency_places (
            {ORGANIZATION_ID},
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            message_id uuid NOT NULL,
            taken_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, email_digest, message_id)
        )
    """)
    op.execute("CREATE INDEX frequency_places_of_old ON frequency_places (organization_id, taken_at)")
    protect("frequency_places", "SELECT, INSERT, DELETE")
    op.execute("ALTER TABLE messages DROP CONSTRAINT messages_veto_reason_check")
    op.execute("""
        ALTER TABLE messages ADD CONSTRAINT messages_veto_reason_check CHECK (
            veto_reason IN ('unsubscribe', 'hard_bounce', 'complaint', 'manual', 'erased', 'cancelled', 'frequency_cap')
        ) NOT VALID
    """)
