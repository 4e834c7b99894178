"""The tables of schema `identity`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chassis.columns import moment, organization_id

metadata = MetaData()


organizations = Table(
    "organizations",
    metadata,
    organization_id(),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("suspended_at", DateTime(timezone=True)),
    Column("cycle_anchor", DateTime(timezone=True), nullable=False),
    Column("next_plan", Text),
    Column("next_plan_at", DateTime(timezone=True)),
    moment("created_at"),
)

# Who is to be erased, and when, or is; no row any more when that is taken back.
erasure_requests = Table(
    "erasure_requests",
    metadata,
    organization_id(),
    Column("erases_at", DateTime(timezone=True), nullable=False),
    Column("erased_at", DateTime(timezone=True)),
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
    Column("email_verified_at", DateTime(timezone=True)),
    moment("password_changed_at"),
    moment("created_at"),
)

# What a link in a mail proves itself with, once: a platform table like `users`, and under the same policy.
account_tokens = Table(
    "account_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    moment("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

# Platform tables like `users`, and under the same policy.
second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("sealed_seed", LargeBinary, nullable=False),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("last_step", BigInteger, nullable=False),
    moment("created_at"),
)
recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
)

memberships = Table(
    "memberships",
    metadata,
    organization_id(),
    Column("user_id", Uuid, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("role", Text, nullable=False),
    moment("created_at"),
)

invitations = Table(
    "invitations",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_digest", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    Column("token_digest", LargeBinary, nullable=False),
    Column("invited_by", Uuid, nullable=False),
    moment("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

# A live session is a row; one that ended is none.
sessions = Table(
    "sessions",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    moment("created_at"),
    moment("last_used_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("client_address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
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
    Column("sealed_chain_key", LargeBinary),
)

audit_events = Table(
    "audit_events",
    metadata,
    organization_id(),
    Column("sequence", BigInteger, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("act", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("client_address", Text, nullable=False),
    Column("target_id", Uuid, nullable=False),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    Column("request_id", Text, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
