"""The tables of schema `integrations`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.columns import moment, organization_id

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

connections = Table(
    "connections",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", Text, nullable=False),
    # The account as the CRM knows it, and where its interface is.
    Column("account_id", Text, nullable=False),
    Column("account_name", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("connected_by", Uuid, nullable=False),
    Column("connected_by_kind", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_error_at", DateTime(timezone=True)),
    Column("last_sync_at", DateTime(timezone=True)),
    moment("created_at"),
    moment("updated_at"),
)

credentials = Table(
    "credentials",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    # One more with each token that takes the place of another.
    Column("version", BigInteger, nullable=False),
    Column("sealed_token", LargeBinary, nullable=False),
    Column("sealed_refresh_token", LargeBinary),
    Column("expires_at", DateTime(timezone=True)),
    # Until then somebody has the refreshing of it to themselves.
    Column("refreshing_until", DateTime(timezone=True)),
)

authorizations = Table(
    "authorizations",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("sealed_verifier", LargeBinary, nullable=False),
    Column("asked_by", Uuid, nullable=False),
    Column("asked_by_kind", Text, nullable=False),
    moment("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("sealed_token", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    moment("created_at"),
)
