"""What kind of mail a message is, and what it takes to forget a person."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE messages ADD category text NOT NULL DEFAULT 'ordinary'")
    op.execute("ALTER TABLE messages DROP CONSTRAINT messages_veto_reason_check")
    op.execute("""
        ALTER TABLE messages ADD CONSTRAINT messages_veto_reason_check
        CHECK (veto_reason IN ('unsubscribe', 'hard_bounce', 'complaint', 'manual', 'erased')) NOT VALID
    """)
    # Whose messages: a campaign's are found by the contact, the others by the address. Each is in one of the two.
    op.execute(
        "CREATE INDEX messages_of_contact ON messages (organization_id, contact_id) WHERE contact_id IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX messages_of_address ON messages (organization_id, email_digest) WHERE contact_id IS NULL"
    )
    op.execute("ALTER TABLE suppressions ADD reaffirmed_at timestamptz NOT NULL DEFAULT clock_timestamp()")
    # What a receiving server replied may quote the address.
    op.execute("GRANT UPDATE (detail) ON message_events TO sending_app")
