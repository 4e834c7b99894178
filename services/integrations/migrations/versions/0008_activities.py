"""What happens to a contact's mail and is to be seen in CRMs, and the names of the campaigns that it is about."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE connections ADD COLUMN logs_activities boolean NOT NULL DEFAULT true")
    _create_outgoing_activities()
    _create_campaign_names()


def _create_outgoing_activities() -> None:
    op.execute(f"""
        CREATE TABLE outgoing_activities (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            id uuid NOT NULL,
            contact_id uuid NOT NULL,
            kind text NOT NULL CHECK (kind IN ('sent', 'opened', 'clicked', 'bounced', 'unsubscribed')),
            campaign_id uuid,
            detail text NOT NULL,
            occurred_at timestamptz NOT NULL,
            handed_at timestamptz,
            PRIMARY KEY (organization_id, connection_id, id),
            FOREIGN KEY (organization_id, connection_id) REFERENCES connections (organization_id, id) ON DELETE CASCADE
        )
    """)
    op.execute(
        "CREATE INDEX outgoing_activities_of_contacts ON outgoing_activities (organization_id, contact_id)"
    )
    op.execute(
        "CREATE INDEX outgoing_activities_in_doubt ON outgoing_activities (organization_id, connection_id, id) "
        "WHERE handed_at IS NOT NULL"
    )
    op.execute("CREATE INDEX outgoing_activities_age ON outgoing_activities USING brin (occurred_at)")
    protect("outgoing_activities")
    open_to(f"{schema()}_scheduler", "outgoing_activities", "SELECT, DELETE", ["occurred_at"])


def _create_campaign_names() -> None:
    op.execute(f"""
        CREATE TABLE campaign_names (
            {ORGANIZATION_ID},
            campaign_id uuid NOT NULL,
            name text NOT NULL,
            launched_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, campaign_id)
        )
    """)
    op.execute("CREATE INDEX campaign_names_age ON campaign_names USING brin (launched_at)")
    protect("campaign_names")
    open_to(f"{schema()}_scheduler", "campaign_names", "SELECT, DELETE", ["launched_at"])
