"""The tables of schema `integrations`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import Column, MetaData, Table, Text, Uuid

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
