"""What was decided of messages, by which version of the list, and the chains that hold it together."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, protect, schema

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    _count_changes_of_the_list()
    _create_decisions()
    _create_chains()


def _count_changes_of_the_list() -> None:
    op.execute(f"""
        CREATE TABLE suppression_list_versions (
            {ORGANIZATION_ID},
            version bigint NOT NULL,
            PRIMARY KEY (organization_id)
        )
    """)
    protect("suppression_list_versions", "SELECT, INSERT, UPDATE")
    # In the database, so that no writer of the list can forget it. What is said once more changes nothing.
    op.execute(f"""
        CREATE FUNCTION count_list_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO {schema()}.suppression_list_versions AS known (organization_id, version)
            SELECT DISTINCT organization_id, 1 FROM changed
            ON CONFLICT (organization_id) DO UPDATE SET version = known.version + 1;
            RETURN NULL;
        END $$
    """)  # noqa: S608 - of our own names alone
    for happened, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(f"""
            CREATE TRIGGER list_changed_by_{happened.lower()} AFTER {happened} ON suppressions
            REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_list_change()
        """)


def _create_decisions() -> None:
    # In the order of transactions, which is the order in which they are linked.
    op.execute(f"""
        CREATE TABLE decisions (
            {ORGANIZATION_ID},
            -- In UTC.
            day date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
            transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
            id uuid NOT NULL DEFAULT uuidv7(),
            decided_at timestamptz NOT NULL DEFAULT now(),
            gate text NOT NULL CHECK (gate IN ('veto', 'claim')),
            batch_id uuid NOT NULL,
            list_version bigint NOT NULL,
            -- The ids of messages, 16 bytes each.
            allowed bytea NOT NULL,
            denied uuid[] NOT NULL,
            -- Of each that was denied.
            reasons text[] NOT NULL,
            PRIMARY KEY (organization_id, day, transaction, id)
        ) WITH (toast_tuple_target = 8160)
    """)
    # Random bytes grow no shorter by compressing, and a batch fits into a page.
    op.execute("ALTER TABLE decisions ALTER allowed SET STORAGE EXTERNAL")
    protect("decisions", "SELECT, INSERT, DELETE")
    open_to(f"{schema()}_scheduler", "decisions", "SELECT", ["organization_id", "day", "transaction"])


def _create_chains() -> None:
    op.execute(f"""
        CREATE TABLE decision_chains (
            {ORGANIZATION_ID},
            day date NOT NULL,
            length bigint NOT NULL DEFAULT 0,
            -- Of the last decision in it.
            head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head) = 32),
            linked_transaction xid8 NOT NULL DEFAULT '0',
            linked_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
            -- Since when nothing can come any more.
            closed_at timestamptz,
            PRIMARY KEY (organization_id, day)
        )
    """)
    op.execute(
        "CREATE INDEX decision_chains_open ON decision_chains (organization_id, day) WHERE closed_at IS NULL"
    )
    protect("decision_chains", "SELECT, INSERT, UPDATE")
    open_to(
        f"{schema()}_scheduler",
        "decision_chains",
        "SELECT",
        ["organization_id", "day", "length", "head", "linked_transaction", "closed_at"],
    )
    op.execute(f"""
        CREATE TABLE decision_links (
            {ORGANIZATION_ID},
            day date NOT NULL,
            sequence bigint NOT NULL,
            transaction xid8 NOT NULL,
            decision_id uuid NOT NULL,
            hash bytea NOT NULL,
            PRIMARY KEY (organization_id, day, sequence)
        )
    """)
    protect("decision_links", "SELECT, INSERT, DELETE")
