"""Endpoints, what is delivered to them, every attempt of it; the log holds what webhooks tell of, one by one."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, open_to, platform_table, protect, schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _tell_events_one_by_one()
    _create_endpoints()
    _create_deliveries()
    _create_attempts()
    _create_replays()
    _create_lane_leases()


def _tell_events_one_by_one() -> None:
    # What is in the log as it came stays until it is a month old; no endpoint takes its type.
    op.execute("ALTER TABLE events ADD sequence bigint, ADD occurred_at timestamptz, ADD contact_id uuid")
    op.execute("CREATE INDEX events_by_time ON events (organization_id, occurred_at, id)")
    op.execute(
        "CREATE INDEX events_of_contacts ON events (organization_id, contact_id) WHERE contact_id IS NOT NULL"
    )
    # Of whoever is erased, everything goes.
    op.execute(f"GRANT DELETE ON events TO {schema()}_app")


def _create_endpoints() -> None:
    op.execute(f"""
        CREATE TABLE endpoints (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            url text NOT NULL,
            description text NOT NULL DEFAULT '',
            event_types text[] NOT NULL,
            enabled boolean NOT NULL DEFAULT true,
            disabled_reason text CHECK (disabled_reason IN ('failing', 'gone')),
            headers_sealed bytea,
            header_names text[] NOT NULL DEFAULT '{{}}',
            rate_limit integer CHECK (rate_limit > 0),
            api_version text NOT NULL,
            message_signatures boolean NOT NULL DEFAULT false,
            sealed_secret bytea NOT NULL,
            sealed_previous_secret bytea,
            previous_secret_until timestamptz,
            failing_since timestamptz,
            paused_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id)
        )
    """)
    protect("endpoints")
    # Which lanes there are, for whoever leases them.
    open_to(f"{schema()}_scheduler", "endpoints", "SELECT", ["organization_id", "id", "enabled"])


def _create_deliveries() -> None:
    # No foreign key: an endpoint that is deleted leaves what was delivered to it, which is forgotten by its age.
    op.execute(f"""
        CREATE TABLE deliveries (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            endpoint_id uuid NOT NULL,
            event_id uuid NOT NULL,
            event_type text NOT NULL,
            status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed', 'cancelled')),
            attempts integer NOT NULL DEFAULT 0,
            scheduled integer NOT NULL DEFAULT 0,
            due_at timestamptz,
            last_status_code integer,
            created_at timestamptz NOT NULL DEFAULT now(),
            settled_at timestamptz,
            PRIMARY KEY (organization_id, id),
            CHECK ((status = 'pending') = (due_at IS NOT NULL))
        )
    """)
    op.execute(
        "CREATE UNIQUE INDEX deliveries_of_endpoints ON deliveries (organization_id, endpoint_id, event_id)"
    )
    op.execute(
        "CREATE INDEX deliveries_due ON deliveries (organization_id, endpoint_id, due_at) WHERE due_at IS NOT NULL"
    )
    op.execute("CREATE INDEX deliveries_age ON deliveries USING brin (created_at)")
    protect("deliveries", "SELECT, INSERT, UPDATE")
    open_to(
        f"{schema()}_scheduler",
        "deliveries",
        "SELECT, DELETE",
        ["organization_id", "endpoint_id", "due_at", "created_at"],
    )


def _create_attempts() -> None:
    op.execute(f"""
        CREATE TABLE attempts (
            {ORGANIZATION_ID},
            delivery_id uuid NOT NULL,
            id uuid NOT NULL,
            number integer NOT NULL,
            outcome text NOT NULL,
            status_code integer,
            error text NOT NULL DEFAULT '',
            address text NOT NULL DEFAULT '',
            duration_ms integer NOT NULL,
            response_body text NOT NULL DEFAULT '',
            attempted_at timestamptz NOT NULL,
            PRIMARY KEY (organization_id, delivery_id, id)
        )
    """)
    op.execute("CREATE INDEX attempts_age ON attempts USING brin (attempted_at)")
    protect("attempts", "SELECT, INSERT, UPDATE")
    open_to(f"{schema()}_scheduler", "attempts", "SELECT, DELETE", ["attempted_at"])


def _create_replays() -> None:
    op.execute(f"""
        CREATE TABLE replays (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            endpoint_id uuid NOT NULL,
            since timestamptz NOT NULL,
            until timestamptz NOT NULL,
            deliveries text NOT NULL CHECK (deliveries IN ('failed', 'delivered', 'any', 'missed')),
            status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed')),
            replayed integer NOT NULL DEFAULT 0,
            reached_time timestamptz,
            reached_id uuid,
            lease_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            completed_at timestamptz,
            PRIMARY KEY (organization_id, id)
        )
    """)
    op.execute("CREATE INDEX replays_running ON replays (organization_id, id) WHERE status = 'running'")
    op.execute("CREATE INDEX replays_of_endpoints ON replays (organization_id, endpoint_id, id)")
    protect("replays", "SELECT, INSERT, UPDATE")
    open_to(f"{schema()}_scheduler", "replays", "SELECT", ["organization_id", "id", "status", "lease_until"])


def _create_lane_leases() -> None:
    op.execute("""
        CREATE TABLE lane_leases (
            shard integer PRIMARY KEY,
            holder uuid NOT NULL,
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE TABLE dispatchers (id uuid PRIMARY KEY, seen_at timestamptz NOT NULL)")
    grants = {f"{schema()}_scheduler": "SELECT, INSERT, UPDATE, DELETE"}
    platform_table("lane_leases", grants)
    platform_table("dispatchers", grants)
