"""One-off messages are written with less ado.

A message's content is written by the statement that writes the message, and goes by the one that erases it: nobody has to look for its
message at every insert. While a database is new, that look-up read all messages of the organization: a plan that was made for empty tables
takes any index that begins with the organization. Nor are one-off messages listed among those of campaigns.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE message_contents DROP CONSTRAINT message_contents_organization_id_message_id_fkey"
    )
    op.execute("DROP INDEX messages_of_campaign")
    op.execute("""
        CREATE INDEX messages_of_campaign ON messages (organization_id, campaign_id, status, id)
        WHERE campaign_id IS NOT NULL
    """)
