"""Opens and clicks: the links of campaigns, what came in, what it counts as, and the counts that reports are made of."""

from datetime import date
from itertools import pairwise

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0009"
down_revision = "0008"

# Later scripts make later ones; until then the default partition takes what comes.
_FIRST_MONTH = date(2026, 11, 1)
_MONTHS = 38


def upgrade() -> None:
    op.execute("ALTER TABLE campaigns ADD track_opens boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE campaigns ADD track_clicks boolean NOT NULL DEFAULT true")
    _create_campaign_links()
    _create_hits()
    _create_events()
    _create_first_engagements()
    _create_counts()


def _create_campaign_links() -> None:
    # Without a foreign key: mails outlive campaigns, and their links go on leading somewhere.
    op.execute(f"""
        CREATE TABLE campaign_links (
            {ORGANIZATION_ID},
            campaign_id uuid NOT NULL,
            number integer NOT NULL CHECK (number > 0),
            url text NOT NULL,
            PRIMARY KEY (organization_id, campaign_id, number)
        )
    """)
    protect("campaign_links", "SELECT, INSERT")


def _create_hits() -> None:
    # What came in a moment ago. It moves on when it is old enough to be judged together with what came about the same time.
    op.execute(f"""
        CREATE TABLE engagement_hits (
            {ORGANIZATION_ID},
            id uuid NOT NULL DEFAULT uuidv7(),
            kind text NOT NULL,
            campaign_id uuid NOT NULL,
            message_id uuid NOT NULL,
            link_number integer NOT NULL,
            bot_rule text NOT NULL,
            occurred_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX engagement_hits_age ON engagement_hits (organization_id, occurred_at)")
    op.execute("CREATE INDEX engagement_hits_due ON engagement_hits (occurred_at)")
    protect("engagement_hits", "SELECT, INSERT, DELETE")
    open_to(f"{schema()}_scheduler", "engagement_hits", "SELECT", ["organization_id", "occurred_at"])


def _create_events() -> None:
    op.execute(f"""
        CREATE TABLE engagement_events (
            {ORGANIZATION_ID},
            occurred_at timestamptz NOT NULL,
            id uuid NOT NULL DEFAULT uuidv7(),
            kind text NOT NULL CHECK (kind IN ('opened', 'clicked', 'unsubscribed', 'complained')),
            campaign_id uuid,
            message_id uuid NOT NULL,
            contact_id uuid,
            link_number integer NOT NULL DEFAULT 0,
            -- Which rule says that it was no person; empty for a person.
            bot_rule text NOT NULL DEFAULT '',
            PRIMARY KEY (organization_id, occurred_at, id)
        ) PARTITION BY RANGE (occurred_at)
    """)
    op.execute("CREATE INDEX engagement_events_of_message ON engagement_events (organization_id, message_id)")
    op.execute("""
        CREATE INDEX engagement_events_of_contact ON engagement_events (organization_id, contact_id, occurred_at)
        WHERE contact_id IS NOT NULL
    """)
    op.execute("""
        CREATE INDEX engagement_events_of_campaign ON engagement_events (organization_id, campaign_id, occurred_at)
        WHERE campaign_id IS NOT NULL
    """)
    protect("engagement_events", "SELECT, INSERT, DELETE")
    months = [_month_after(_FIRST_MONTH, number) for number in range(_MONTHS + 1)]
    for begin, end in pairwise(months):
        _create_partition(f"{begin:%Y_%m}", f"FOR VALUES FROM ('{begin} 00:00Z') TO ('{end} 00:00Z')")
    _create_partition("other", "DEFAULT")


def _create_partition(name: str, values: str) -> None:
    partition = f"engagement_events_{name}"
    op.execute(f"CREATE TABLE {partition} PARTITION OF engagement_events {values}")
    # A partition that is named by itself goes by its own policies.
    protect(partition, "SELECT, INSERT, DELETE")


def _month_after(first: date, number: int) -> date:
    months = first.month - 1 + number
    return date(first.year + months // 12, months % 12 + 1, 1)


def _create_first_engagements() -> None:
    # A person's first of each kind with each message: link 0 is the message itself, opened or clicked anywhere.
    op.execute(f"""
        CREATE TABLE first_engagements (
            {ORGANIZATION_ID},
            message_id uuid NOT NULL,
            kind text NOT NULL CHECK (kind IN ('opened', 'clicked')),
            link_number integer NOT NULL,
            campaign_id uuid NOT NULL,
            occurred_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, message_id, kind, link_number)
        )
    """)
    protect("first_engagements", "SELECT, INSERT")


def _create_counts() -> None:
    # By hour and link: what people did, with how many messages they did it for the first time, and what programs did.
    op.execute(f"""
        CREATE TABLE engagement_counts (
            {ORGANIZATION_ID},
            campaign_id uuid NOT NULL,
            kind text NOT NULL,
            link_number integer NOT NULL,
            hour timestamptz NOT NULL,
            total bigint NOT NULL,
            messages bigint NOT NULL,
            by_bots bigint NOT NULL,
            PRIMARY KEY (organization_id, campaign_id, kind, link_number, hour)
        )
    """)
    op.execute("CREATE INDEX engagement_counts_by_hour ON engagement_counts (organization_id, hour)")
    protect("engagement_counts", "SELECT, INSERT, UPDATE")
