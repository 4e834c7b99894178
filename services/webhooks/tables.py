"""The tables of schema `webhooks`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, Uuid

from chassis.columns import moment, organization_id

metadata = MetaData()

events = Table(
    "events",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    moment("received_at"),
)
