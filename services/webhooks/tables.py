"""The tables of schema `webhooks`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import Column, DateTime, FetchedValue, LargeBinary, MetaData, Table, Text, Uuid, func

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("organization_id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
