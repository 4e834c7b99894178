"""Segments that are watched, and who is in them."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # Of several events that say which segments are watched the latest holds, in whatever order they come.
    op.execute(f"""
        CREATE TABLE segments_watched (
            {ORGANIZATION_ID},
            event_id uuid NOT NULL,
            PRIMARY KEY (organization_id)
        )
    """)
    protect("segments_watched", "SELECT, INSERT, UPDATE")
    # Without a key to the segment: a watch outlives it until what it kept is gone, a page at a time.
    op.execute(f"""
        CREATE TABLE segment_watches (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            segment_id uuid NOT NULL,
            began_at timestamptz NOT NULL,
            seen_whole boolean NOT NULL DEFAULT false,
            after_contact_id uuid,
            next_look_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute(
        "CREATE UNIQUE INDEX segment_watches_going_on ON segment_watches (organization_id, segment_id) WHERE ended_at IS NULL"
    )
    op.execute("CREATE INDEX segment_watches_due ON segment_watches (next_look_at)")
    protect("segment_watches")
    open_to("contacts_scheduler", "segment_watches", "SELECT", ["organization_id", "id", "next_look_at"])
    # Ids alone, and without a key to the contact: the next look takes out who is gone, so that nothing is made slower by it.
    op.execute(f"""
        CREATE TABLE segment_members (
            {ORGANIZATION_ID},
            watch_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            PRIMARY KEY (organization_id, watch_id, contact_id)
        )
    """)
    protect("segment_members", "SELECT, INSERT, DELETE")
