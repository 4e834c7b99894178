"""The tables of schema `identity`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.columns import moment, organization_id

metadata = MetaData()


organizations = Table(
    "organizations",
    metadata,
    organization_id(),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("suspended_at", DateTime(timezone=True)),
    moment("created_at"),
)

# People, who belong to no organization by themselves: a platform table (deploy/database/roles.toml).
users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    moment("created_at"),
)

memberships = Table(
    "memberships",
    metadata,
    organization_id(),
    Column("user_id", Uuid, primary_key=True),
    Column("role", Text, nullable=False),
    moment("created_at"),
)

# A live session is a row; one that ended is none.
sessions = Table(
    "sessions",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    moment("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    organization_id(),
    Column("digest", LargeBinary, primary_key=True),
    Column("session_id", Uuid, nullable=False),
    moment("issued_at"),
    Column("replaced_at", DateTime(timezone=True)),
    Column("successor_salt", LargeBinary),
)

# A key that can be used is a row; a revoked one is none.
api_keys = Table(
    "api_keys",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    moment("created_at"),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
)

audit_events = Table(
    "audit_events",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    moment("occurred_at"),
    Column("act", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("target_id", Uuid, nullable=False),
    Column("request_id", Text, nullable=False),
)
