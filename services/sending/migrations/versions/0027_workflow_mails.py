"""The mails of workflows: what each says, and which message came of which step of which enrollment."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    # Without foreign keys: mails outlive their workflows, and their links go on leading somewhere.
    op.execute(f"""
        CREATE TABLE workflow_mails (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            workflow_id uuid NOT NULL,
            version integer NOT NULL,
            step_id text NOT NULL,
            from_name text NOT NULL DEFAULT '',
            from_email text NOT NULL,
            subject text NOT NULL,
            html text NOT NULL DEFAULT '',
            text text NOT NULL DEFAULT '',
            merge_fields text[] NOT NULL DEFAULT '{{}}',
            PRIMARY KEY (organization_id, id),
            UNIQUE (organization_id, workflow_id, version, step_id)
        )
    """)
    protect("workflow_mails", "SELECT, INSERT")
    op.execute("ALTER TABLE messages ADD workflow_mail_id uuid")
    # An effect makes one message, whoever does it again.
    op.execute(f"""
        CREATE TABLE workflow_messages (
            {ORGANIZATION_ID},
            message_id uuid NOT NULL,
            effect_id uuid NOT NULL,
            enrollment_id uuid NOT NULL,
            workflow_id uuid NOT NULL,
            step_id text NOT NULL,
            PRIMARY KEY (organization_id, message_id),
            UNIQUE (organization_id, effect_id)
        )
    """)
    protect("workflow_messages", "SELECT, INSERT")
    op.execute("ALTER TABLE engagement_events ADD workflow_mail_id uuid")
