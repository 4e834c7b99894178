"""The tables of schema `webhooks`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.columns import moment, organization_id

metadata = MetaData()

events = Table(
    "events",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    # The JSON of `data`; of a row from before endpoints were there the fact as it came.
    Column("payload", LargeBinary, nullable=False),
    Column("sequence", BigInteger),
    Column("occurred_at", DateTime(timezone=True)),
    Column("contact_id", Uuid),
    moment("received_at"),
)

endpoints = Table(
    "endpoints",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("enabled", Boolean, nullable=False),
    # Why the platform disabled it; none where its organization did.
    Column("disabled_reason", Text),
    Column("headers_sealed", LargeBinary),
    Column("header_names", ARRAY(Text), nullable=False),
    # Posts a second, at most.
    Column("rate_limit", Integer),
    Column("api_version", Text, nullable=False),
    Column("message_signatures", Boolean, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("sealed_previous_secret", LargeBinary),
    Column("previous_secret_until", DateTime(timezone=True)),
    Column("failing_since", DateTime(timezone=True)),
    # It asked for no posts until then.
    Column("paused_until", DateTime(timezone=True)),
    moment("created_at"),
    moment("updated_at"),
)

# Nothing of them is kept that comes later.
erased_contacts = Table(
    "erased_contacts",
    metadata,
    organization_id(),
    Column("contact_id", Uuid, primary_key=True),
    moment("erased_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Its place in the schedule: how many attempts it had since it was last begun.
    Column("scheduled", Integer, nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("last_status_code", Integer),
    moment("created_at"),
    Column("settled_at", DateTime(timezone=True)),
)

attempts = Table(
    "attempts",
    metadata,
    organization_id(),
    Column("delivery_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status_code", Integer),
    Column("error", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("response_body", Text, nullable=False),
    Column("attempted_at", DateTime(timezone=True), nullable=False),
)

replays = Table(
    "replays",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("deliveries", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("replayed", Integer, nullable=False),
    # Where in time, and at which of that moment, it has arrived.
    Column("reached_time", DateTime(timezone=True)),
    Column("reached_id", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    moment("created_at"),
    Column("completed_at", DateTime(timezone=True)),
)
