"""A batch is decided on and claimed as a whole: a message's row is written when it is made and when something became of it.

Takes a stop of suppression and delivery: what the version before claims or approves message by message, this one does not look at.
"""

from alembic import op

from chassis.migrations.ddl import schema

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE batches
        ADD decided_at timestamptz,
        ADD lease_token uuid,
        ADD leased_at timestamptz,
        ADD CHECK (lease_token IS NULL OR status = 'approved'),
        ADD CHECK ((lease_token IS NULL) = (leased_at IS NULL))
    """)
    op.execute("CREATE INDEX batches_leased ON batches (lease_token) WHERE lease_token IS NOT NULL")
    scheduler = f"{schema()}_scheduler"
    op.execute(f"GRANT SELECT (lease_token) ON batches TO {scheduler}")
    # It has no reason to look at messages any more.
    op.execute(f"DROP POLICY across_tenants_{scheduler} ON messages")
    op.execute(f"REVOKE ALL ON messages FROM {scheduler}")
    op.execute("DROP INDEX messages_deferred")
    _thin_out_indexes()
    op.execute("CREATE INDEX suppressions_of_late ON suppressions (organization_id, reaffirmed_at)")
    op.execute("ALTER TABLE messages DROP CONSTRAINT messages_status_check, DROP COLUMN lease_token")
    # A change of the type sees every organization's rows, as an update would not.
    op.execute("""
        ALTER TABLE messages ALTER COLUMN status TYPE text USING CASE
            WHEN status = 'approved' OR status = 'sending' AND campaign_id IS NULL THEN 'queued'
            WHEN status = 'sending' THEN 'indeterminate'
            ELSE status
        END
    """)
    op.execute("""
        ALTER TABLE messages ADD CONSTRAINT messages_status_check CHECK (status IN (
            'queued', 'vetoed', 'sent', 'delivered', 'deferred', 'bounced', 'failed', 'indeterminate'
        )) NOT VALID
    """)


def _thin_out_indexes() -> None:
    """Each costs something for every message. What a batch belongs to its messages do; one index finds a contact's, and has each once."""
    op.execute("DROP INDEX messages_of_batch, messages_of_contact")
    op.execute("CREATE INDEX messages_of_batch ON messages (organization_id, batch_id)")
    op.execute("""
        ALTER TABLE messages
        DROP CONSTRAINT messages_organization_id_campaign_id_fkey,
        DROP CONSTRAINT messages_organization_id_campaign_id_contact_id_key,
        ADD UNIQUE (organization_id, contact_id, campaign_id)
    """)
