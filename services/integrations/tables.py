"""The tables of schema `integrations`, as SQLAlchemy Core sees them; `migrations/` makes them.

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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chassis.columns import moment, organization_id

metadata = MetaData()

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
    # Whether what happens to a contact's mail is shown in the CRM.
    Column("logs_activities", Boolean, nullable=False, server_default="true"),
    # How many field mappings it has ever had; 0 as long as it has its CRM's own.
    Column("mappings_made", Integer, nullable=False, server_default="0"),
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

# What is kept in step with what, where somebody has said so.
field_mappings = Table(
    "field_mappings",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    # Which one it is of all that the connection ever had.
    Column("number", Integer, primary_key=True),
    Column("field", Text, nullable=False),
    Column("property", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("winner", Text, nullable=False),
)

links = Table(
    "links",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    # As the CRM calls it.
    Column("record_id", Text, nullable=False),
    # Of the values that both last had in common, by field.
    Column("fingerprints", JSONB, nullable=False),
    Column("crm_opted_out", Boolean, nullable=False),
    Column("is_cut", Boolean, nullable=False),
)

# Contacts that have changed since a connection was told of them.
outgoing_changes = Table(
    "outgoing_changes",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    # The change that was heard of last.
    Column("event_id", Uuid, nullable=False),
)

# What happened to a contact's mail, and a connection's CRM does not show yet.
outgoing_activities = Table(
    "outgoing_activities",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    # In the order of time.
    Column("id", Uuid, primary_key=True),
    Column("contact_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("campaign_id", Uuid),
    Column("detail", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    # The CRM was called with it then, and it is not known what became of it.
    Column("handed_at", DateTime(timezone=True)),
)

campaign_names = Table(
    "campaign_names",
    metadata,
    organization_id(),
    Column("campaign_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    moment("launched_at"),
)

# Where a connection's syncs have arrived, and when the next is due.
sync_positions = Table(
    "sync_positions",
    metadata,
    organization_id(),
    Column("connection_id", Uuid, primary_key=True),
    # Where the CRM's changes go on; none until the first page.
    Column("cursor", Text),
    # The last contact that the first sync has told of; until it has told of all.
    Column("contacts_until", Uuid),
    Column("told_all_contacts", Boolean, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
)

syncs = Table(
    "syncs",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("connection_id", Uuid, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("phase", Text, nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in (
            "records_read",
            "contacts_read",
            "contacts_created",
            "contacts_changed",
            "records_created",
            "records_changed",
            "opt_outs_taken",
            "opt_outs_told",
            "problems",
        )
    ),
    Column("error", Text, nullable=False),
    # Turns in a row without a step that went through.
    Column("attempts", Integer, nullable=False),
    Column("lease_token", Uuid),
    # Nobody else works on it until then; where nobody does, when somebody may.
    Column("lease_until", DateTime(timezone=True)),
    moment("created_at"),
    Column("finished_at", DateTime(timezone=True)),
)

sync_problems = Table(
    "sync_problems",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("sync_id", Uuid, nullable=False),
    Column("contact_id", Uuid),
    Column("record_id", Text, nullable=False),
    Column("message", Text, nullable=False),
)
