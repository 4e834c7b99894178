"""Syncs: what is linked with what, where they have arrived, and what could not be brought in step.

`contact_changes` is not written any more; it goes with the next migration, as processes of before still do.
"""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0004"
down_revision = "0003"

_OF_A_CONNECTION = "FOREIGN KEY (organization_id, connection_id) REFERENCES connections (organization_id, id) ON DELETE CASCADE"


def upgrade() -> None:
    _create_links()
    _create_outgoing_changes()
    _create_positions()
    _create_syncs()
    _create_problems()


def _create_links() -> None:
    op.execute(f"""
        CREATE TABLE links (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            record_id text NOT NULL,
            fingerprints jsonb NOT NULL,
            crm_opted_out boolean NOT NULL,
            is_cut boolean NOT NULL,
            PRIMARY KEY (organization_id, connection_id, contact_id),
            {_OF_A_CONNECTION}
        )
    """)
    op.execute("CREATE UNIQUE INDEX links_of_records ON links (organization_id, connection_id, record_id)")
    op.execute("CREATE INDEX links_of_contacts ON links (organization_id, contact_id)")
    protect("links")


def _create_outgoing_changes() -> None:
    op.execute(f"""
        CREATE TABLE outgoing_changes (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            contact_id uuid NOT NULL,
            event_id uuid NOT NULL,
            PRIMARY KEY (organization_id, connection_id, contact_id),
            {_OF_A_CONNECTION}
        )
    """)
    op.execute(
        "CREATE INDEX outgoing_changes_in_order ON outgoing_changes (organization_id, connection_id, event_id, contact_id)"
    )
    protect("outgoing_changes")


def _create_positions() -> None:
    op.execute(f"""
        CREATE TABLE sync_positions (
            {ORGANIZATION_ID},
            connection_id uuid NOT NULL,
            cursor text,
            contacts_until uuid,
            told_all_contacts boolean NOT NULL,
            due_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, connection_id),
            {_OF_A_CONNECTION}
        )
    """)
    op.execute("CREATE INDEX sync_positions_due ON sync_positions (due_at)")
    protect("sync_positions")


def _create_syncs() -> None:
    op.execute(f"""
        CREATE TABLE syncs (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            connection_id uuid NOT NULL,
            trigger text NOT NULL CHECK (trigger IN ('schedule', 'request')),
            status text NOT NULL CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed')),
            phase text NOT NULL DEFAULT 'records' CHECK (phase IN ('records', 'all_contacts', 'contacts')),
            records_read bigint NOT NULL DEFAULT 0,
            contacts_read bigint NOT NULL DEFAULT 0,
            contacts_created bigint NOT NULL DEFAULT 0,
            contacts_changed bigint NOT NULL DEFAULT 0,
            records_created bigint NOT NULL DEFAULT 0,
            records_changed bigint NOT NULL DEFAULT 0,
            opt_outs_taken bigint NOT NULL DEFAULT 0,
            opt_outs_told bigint NOT NULL DEFAULT 0,
            problems bigint NOT NULL DEFAULT 0,
            error text NOT NULL DEFAULT '',
            attempts integer NOT NULL DEFAULT 0,
            lease_token uuid,
            lease_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            PRIMARY KEY (organization_id, id),
            {_OF_A_CONNECTION}
        )
    """)
    op.execute("CREATE INDEX syncs_of_connections ON syncs (organization_id, connection_id, id)")
    op.execute(
        "CREATE UNIQUE INDEX syncs_one_at_a_time ON syncs (organization_id, connection_id) "
        "WHERE status IN ('pending', 'running', 'waiting')"
    )
    protect("syncs")


def _create_problems() -> None:
    op.execute(f"""
        CREATE TABLE sync_problems (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            sync_id uuid NOT NULL,
            contact_id uuid,
            record_id text NOT NULL,
            message text NOT NULL,
            PRIMARY KEY (organization_id, sync_id, id),
            FOREIGN KEY (organization_id, sync_id) REFERENCES syncs (organization_id, id) ON DELETE CASCADE
        )
    """)
    protect("sync_problems")
