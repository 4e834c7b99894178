"""Addresses that one organization's mail goes out from, and how far each of them is warmed up."""

from alembic import op

from chassis.migrations.ddl import ORGANIZATION_ID, protect

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE ip_pools (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            name text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (organization_id, id),
            -- So that where an organization's mail goes out is never a question.
            UNIQUE (organization_id)
        )
    """)
    protect("ip_pools")
    op.execute(f"""
        CREATE TABLE ip_pool_addresses (
            {ORGANIZATION_ID},
            id uuid NOT NULL,
            ip_pool_id uuid NOT NULL,
            -- The relay's URL with its password, as chassis/sealing.py seals it; NULL for the platform's own relay.
            sealed_relay_url bytea,
            -- Its host and port, which may be shown.
            relay text NOT NULL DEFAULT '',
            source_address text NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL DEFAULT now(),
            -- Since when it may send as much as it can.
            warm_at timestamptz,
            PRIMARY KEY (organization_id, id),
            FOREIGN KEY (organization_id, ip_pool_id) REFERENCES ip_pools ON DELETE CASCADE,
            CHECK (sealed_relay_url IS NOT NULL OR source_address <> '')
        )
    """)
    protect("ip_pool_addresses")
    op.execute(f"""
        CREATE TABLE ip_pool_days (
            {ORGANIZATION_ID},
            address_id uuid NOT NULL,
            -- In UTC.
            day date NOT NULL,
            allowed integer NOT NULL,
            handed_over integer NOT NULL,
            PRIMARY KEY (organization_id, address_id, day),
            FOREIGN KEY (organization_id, address_id) REFERENCES ip_pool_addresses ON DELETE CASCADE,
            CHECK (handed_over BETWEEN 0 AND allowed)
        )
    """)
    protect("ip_pool_days")
