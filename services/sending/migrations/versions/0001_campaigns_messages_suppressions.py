"""Campaigns, messages, the suppression list, delivery leases and feedback reports."""

from alembic import op

from chassis.migrations.ddl import (
    ORGANIZATION_ID,
    create_chassis_tables,
    open_to,
    platform_table,
    protect,
    schema,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables()
    _create_campaigns()
    _create_batches()
    _create_messages()
    _create_suppressions()
    _create_delivery_leases()
    _create_feedback_reports()


def _create_campaigns() -> None:
    op.execute(f"""
        CREATE TABLE campaigns (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            subject text NOT NULL,
            from_name text NOT NULL DEFAULT '',
            from_email text NOT NULL,
            html text NOT NULL DEFAULT '',
            text text NOT NULL DEFAULT '',
            list_ids uuid[] NOT NULL,
            status text NOT NULL CHECK (status IN ('draft', 'sending', 'completed', 'failed')),
            -- Fan-out: recipients up to here are messages; each page moves it in the transaction that makes them.
            after_contact_id uuid,
            audience integer NOT NULL DEFAULT 0,
            audience_complete boolean NOT NULL DEFAULT false,
            lease_token uuid,
            lease_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            launched_at timestamptz,
            completed_at timestamptz,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX campaigns_under_way ON campaigns (organization_id, id) WHERE status = 'sending'")
    protect("campaigns")
    open_to(
        f"{schema()}_scheduler",
        "campaigns",
        "SELECT",
        ["organization_id", "id", "status", "audience_complete", "lease_until"],
    )


def _create_batches() -> None:
    # A batch is what one event speaks of: at most 500 messages of one campaign, or one single message.
    op.execute(f"""
        CREATE TABLE batches (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            campaign_id uuid,
            status text NOT NULL CHECK (status IN ('requested', 'approved', 'settled')),
            created_at timestamptz NOT NULL DEFAULT now(),
            -- When the order for it is to be looked after, should its event have been lost.
            due_at timestamptz NOT NULL DEFAULT now() + interval '60 seconds',
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns
        )
    """)
    op.execute("CREATE INDEX batches_of_campaign ON batches (organization_id, campaign_id)")
    op.execute("CREATE INDEX batches_due ON batches (due_at) WHERE status <> 'settled'")
    protect("batches")
    open_to(f"{schema()}_scheduler", "batches", "SELECT", ["organization_id", "id", "status", "due_at"])


def _create_messages() -> None:
    op.execute(f"""
        CREATE TABLE messages (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            batch_id uuid NOT NULL,
            campaign_id uuid,
            contact_id uuid,
            email text NOT NULL,
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            status text NOT NULL DEFAULT 'queued' CHECK (status IN (
                'queued', 'approved', 'vetoed', 'sending', 'sent', 'delivered', 'deferred', 'bounced', 'failed',
                'indeterminate'
            )),
            veto_reason text CHECK (veto_reason IN ('unsubscribe', 'hard_bounce', 'complaint', 'manual')),
            lease_token uuid,
            attempts integer NOT NULL DEFAULT 0,
            -- Deferred: not before then.
            next_attempt_at timestamptz,
            smtp_reply text NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL DEFAULT now(),
            settled_at timestamptz,
            PRIMARY KEY (organization_id, id),
            -- One row for each recipient of a campaign: what makes a repeated fan-out harmless.
            UNIQUE (organization_id, campaign_id, contact_id),
            FOREIGN KEY (organization_id, batch_id) REFERENCES batches,
            FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns,
            CHECK ((status = 'vetoed') = (veto_reason IS NOT NULL)),
            CHECK ((status = 'sending') = (lease_token IS NOT NULL)),
            CHECK ((status = 'deferred') = (next_attempt_at IS NOT NULL))
        ) WITH (fillfactor = 80)
    """)
    op.execute("CREATE INDEX messages_of_batch ON messages (organization_id, batch_id, status)")
    op.execute("CREATE INDEX messages_of_campaign ON messages (organization_id, campaign_id, status, id)")
    op.execute("CREATE INDEX messages_in_flight ON messages (lease_token) WHERE lease_token IS NOT NULL")
    op.execute("CREATE INDEX messages_deferred ON messages (next_attempt_at) WHERE status = 'deferred'")
    protect("messages")
    open_to(
        f"{schema()}_scheduler",
        "messages",
        "SELECT",
        ["organization_id", "id", "batch_id", "status", "lease_token", "next_attempt_at"],
    )
    # What a single message says; a campaign says it once for all of its messages.
    op.execute(f"""
        CREATE TABLE message_contents (
            {ORGANIZATION_ID},
            message_id uuid NOT NULL,
            from_name text NOT NULL DEFAULT '',
            from_email text NOT NULL,
            subject text NOT NULL,
            html text NOT NULL DEFAULT '',
            text text NOT NULL DEFAULT '',
            PRIMARY KEY (organization_id, message_id),
            FOREIGN KEY (organization_id, message_id) REFERENCES messages ON DELETE CASCADE
        )
    """)
    protect("message_contents")
    op.execute(f"""
        CREATE TABLE message_events (
            {ORGANIZATION_ID},
            message_id uuid NOT NULL,
            id uuid NOT NULL DEFAULT uuidv7(),
            status text NOT NULL,
            detail text NOT NULL DEFAULT '',
            occurred_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, message_id, id),
            FOREIGN KEY (organization_id, message_id) REFERENCES messages ON DELETE CASCADE
        )
    """)
    protect("message_events", "SELECT, INSERT")


def _create_suppressions() -> None:
    op.execute(f"""
        CREATE TABLE suppressions (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            reason text NOT NULL CHECK (reason IN ('unsubscribe', 'hard_bounce', 'complaint', 'manual')),
            email text NOT NULL DEFAULT '',
            note text NOT NULL DEFAULT '',
            message_id uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, email_digest, reason)
        )
    """)
    protect("suppressions")


def _create_delivery_leases() -> None:
    # A delivery process holds one as long as it lives; what it claimed carries the token.
    op.execute("CREATE TABLE delivery_leases (token uuid PRIMARY KEY, expires_at timestamptz NOT NULL)")
    platform_table("delivery_leases", {f"{schema()}_scheduler": "SELECT, INSERT, UPDATE, DELETE"})


def _create_feedback_reports() -> None:
    # What the feedback listener accepted, raw. Whose it is, is told only by what it says.
    op.execute("""
        CREATE TABLE feedback_reports (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            mail_from text NOT NULL,
            rcpt_to text[] NOT NULL,
            content bytea STORAGE EXTENDED NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    platform_table("feedback_reports", {f"{schema()}_app": "INSERT"})
