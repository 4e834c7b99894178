"""The tables of schema `integrations`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import Column, FetchedValue, MetaData, Table, Text, Uuid

metadata = MetaData()

contact_changes = Table(
    "contact_changes",
    metadata,
    Column("organization_id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("contact_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
)
