"""The tables of schema `integrations`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, Text, Uuid

from chassis.columns import organization_id

metadata = MetaData()

contact_changes = Table(
    "contact_changes",
    metadata,
    organization_id(),
    Column("contact_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
)

ai_usage = Table(
    "ai_usage",
    metadata,
    organization_id(),
    Column("cycle_started_at", DateTime(timezone=True), primary_key=True),
    Column("tokens", BigInteger, nullable=False),
)

ai_tokens_set_aside = Table(
    "ai_tokens_set_aside",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("cycle_started_at", DateTime(timezone=True), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("free_at", DateTime(timezone=True), nullable=False),
)
