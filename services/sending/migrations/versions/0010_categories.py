"""Marketing and transactional mail, and the platform's own.

Takes a stop of sending: what the version before calls ordinary is not known any more.
"""

from alembic import op

from chassis.context import PLATFORM

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE messages ALTER category DROP DEFAULT")
    # A change of the type sees every organization's rows, as an update would not.
    op.execute(f"""
        ALTER TABLE messages ALTER category TYPE text USING CASE
            WHEN organization_id = '{PLATFORM}' THEN 'system'
            WHEN category <> 'ordinary' THEN category
            WHEN campaign_id IS NULL THEN 'transactional'
            ELSE 'marketing'
        END
    """)
    # What does not say what it is may do the least.
    op.execute("ALTER TABLE messages ALTER category SET DEFAULT 'marketing'")
    op.execute(f"""
        ALTER TABLE messages
        ADD CONSTRAINT messages_category_check CHECK (
            category IN ('marketing', 'transactional', 'confirmation', 'system')
        ),
        ADD CONSTRAINT messages_system_check CHECK ((category = 'system') = (organization_id = '{PLATFORM}'))
    """)
