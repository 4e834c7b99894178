"""What refusals and reports say of messages, and which of them put an address on the list."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect, schema

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE feedback_findings (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            message_id uuid NOT NULL,
            email_digest bytea NOT NULL CHECK (octet_length(email_digest) = 32),
            kind text NOT NULL CHECK (kind IN ('hard', 'soft', 'block', 'complaint', 'unknown')),
            enhanced_status text NOT NULL DEFAULT '',
            -- By which rule of which source it was told, who reported it, and in which report.
            rule text NOT NULL DEFAULT '',
            source text NOT NULL,
            reporter text NOT NULL DEFAULT '',
            report_id uuid,
            occurred_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            -- A report that comes twice, or is told by two servers, is one finding.
            UNIQUE (organization_id, message_id, kind),
            FOREIGN KEY (organization_id, message_id) REFERENCES messages ON DELETE CASCADE
        )
    """)
    op.execute(
        "CREATE INDEX feedback_findings_of_address ON feedback_findings (organization_id, email_digest, occurred_at)"
    )
    op.execute(
        "CREATE INDEX feedback_findings_by_time ON feedback_findings (organization_id, kind, occurred_at)"
    )
    protect("feedback_findings")
    op.execute("""
        ALTER TABLE suppressions
        ADD rule text NOT NULL DEFAULT '',
        ADD source text NOT NULL DEFAULT '',
        ADD report_id uuid
    """)
    _let_reports_be_read()


def _let_reports_be_read() -> None:
    # When it is to be processed; NULL once it is. What has come so far waits for nobody.
    op.execute("ALTER TABLE feedback_reports ADD due_at timestamptz")
    op.execute("CREATE INDEX feedback_reports_due ON feedback_reports (due_at) WHERE due_at IS NOT NULL")
    op.execute("CREATE INDEX feedback_reports_age ON feedback_reports (received_at)")
    app, scheduler = f"{schema()}_app", f"{schema()}_scheduler"
    op.execute(f"GRANT SELECT (id), UPDATE (due_at) ON feedback_reports TO {app}")
    op.execute(f"GRANT SELECT, DELETE ON feedback_reports TO {scheduler}")
    op.execute(f"GRANT UPDATE (due_at) ON feedback_reports TO {scheduler}")
