"""The tables of schema `contacts`, as SQLAlchemy Core sees them; `migrations/` makes them.

No insert names `organization_id`: its default is the organization of the transaction's context.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    FetchedValue,
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


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


contacts = Table(
    "contacts",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_digest", LargeBinary, nullable=False),
    Column("first_name", Text, nullable=False, server_default=""),
    Column("last_name", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False),
    # An IANA name; empty when it is not known.
    _text("time_zone"),
    # The import that touched the contact last: how an import knows the rows it has seen already.
    Column("last_import_id", Uuid),
    # Values by the number of their field.
    Column("custom_fields", JSONB, nullable=False, server_default="{}"),
    moment("created_at"),
    moment("updated_at"),
)

# A deleted field stays, so that its number is not given again.
custom_fields = Table(
    "custom_fields",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("choices", ARRAY(Text), nullable=False),
    moment("created_at"),
    Column("deleted_at", DateTime(timezone=True)),
)

# Why an address may not be written to, by digest: it outlives the contact, and a later contact is born with it.
# What is no longer in force stays, with the event that said so, to be told from an older event that comes late.
suppressed_addresses = Table(
    "suppressed_addresses",
    metadata,
    organization_id(),
    Column("email_digest", LargeBinary, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("in_force", Boolean, nullable=False),
    Column("event_id", Uuid, nullable=False),
)

lists = Table(
    "lists",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # Whether people see it on their page of preferences.
    Column("is_public", Boolean, nullable=False, server_default="false"),
    moment("created_at"),
)

# Which lists somebody has left by their own choice, by digest: it outlives the contact, and no membership is made against it.
list_refusals = Table(
    "list_refusals",
    metadata,
    organization_id(),
    Column("email_digest", LargeBinary, primary_key=True),
    Column("list_id", Uuid, primary_key=True),
    moment("refused_at"),
)

memberships = Table(
    "memberships",
    metadata,
    organization_id(),
    Column("list_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    moment("added_at"),
    Column("source", Text, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    # The name as it is compared: no two tags differ in capitals alone.
    Column("folded_name", Text, nullable=False),
    moment("created_at"),
)

taggings = Table(
    "taggings",
    metadata,
    organization_id(),
    Column("tag_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    moment("added_at"),
    Column("source", Text, nullable=False),
)

# What happened to contacts: the ledger of their consent, and their lists, tags, forms and mail. Only ever added to, and it
# outlives the contact, so nothing in it tells who that was.
contact_events = Table(
    "contact_events",
    metadata,
    organization_id(),
    Column("contact_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("type", Text, nullable=False),
    moment("occurred_at"),
    Column("source", Text, nullable=False),
    # The import, form, bulk change, workflow or message that brought it about.
    Column("source_id", Uuid),
    # The list, tag or campaign that it is about.
    Column("about_id", Uuid),
    _text("text"),
)

# Where consents came from. Apart from the ledger, since it goes with the contact.
consent_addresses = Table(
    "consent_addresses",
    metadata,
    organization_id(),
    Column("contact_id", Uuid, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("client_address", Text, nullable=False),
)

# When a contact last did something: with one campaign, and with any mail at all.
engagements = Table(
    "engagements",
    metadata,
    organization_id(),
    Column("kind", Text, primary_key=True),
    Column("campaign_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    Column("last_at", DateTime(timezone=True), nullable=False),
)

segments = Table(
    "segments",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    _text("description"),
    Column("rule", JSONB, nullable=False),
    moment("created_at"),
    moment("updated_at"),
)

# The event that said last which segments are watched.
segments_watched = Table(
    "segments_watched",
    metadata,
    organization_id(),
    Column("event_id", Uuid, nullable=False),
)

segment_watches = Table(
    "segment_watches",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("segment_id", Uuid, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    # Whether all contacts have been looked at since it began: who is found in it from then on has come in.
    Column("seen_whole", Boolean, nullable=False, server_default="false"),
    # The look under way has come to this contact.
    Column("after_contact_id", Uuid),
    moment("next_look_at"),
    # What it kept is left to be forgotten.
    Column("ended_at", DateTime(timezone=True)),
)

# Who was in a watched segment when it was looked at last.
segment_members = Table(
    "segment_members",
    metadata,
    organization_id(),
    Column("watch_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
)

bulk_changes = Table(
    "bulk_changes",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target_id", Uuid, nullable=False),
    # Whom it is for: one of the two.
    Column("rule", JSONB(none_as_null=True)),
    Column("contact_ids", ARRAY(Uuid)),
    Column("total_contacts", BigInteger, nullable=False),
    Column("processed_contacts", BigInteger, nullable=False, server_default="0"),
    Column("changed_contacts", BigInteger, nullable=False, server_default="0"),
    _text("failure"),
    # Contacts up to this one are done.
    Column("after_contact_id", Uuid),
    Column("lease_token", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    _count("attempts"),
    moment("created_at"),
    Column("completed_at", DateTime(timezone=True)),
)

# Which contacts; no copy of them.
exports = Table(
    "exports",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("list_id", Uuid),
    Column("tag_id", Uuid),
    Column("segment_id", Uuid),
    Column("contact_id", Uuid),
    Column("contact_count", BigInteger, nullable=False),
    moment("created_at"),
)

forms = Table(
    "forms",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("title", Text, nullable=False),
    _text("description"),
    # In order: {"key", "label", "required"}.
    Column("fields", JSONB, nullable=False),
    Column("list_ids", ARRAY(Uuid), nullable=False),
    Column("tag_ids", ARRAY(Uuid), nullable=False),
    Column("double_opt_in", Boolean, nullable=False),
    Column("consent_text", Text, nullable=False),
    Column("button_label", Text, nullable=False),
    _text("success_message"),
    _text("from_name"),
    Column("from_email", Text, nullable=False),
    moment("created_at"),
    moment("updated_at"),
)

# Nobody is a contact by one of these until it is confirmed, where the form asks for that.
form_submissions = Table(
    "form_submissions",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("form_id", Uuid, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_digest", LargeBinary, nullable=False),
    _text("first_name"),
    _text("last_name"),
    # As in `contacts`.
    Column("custom_fields", JSONB, nullable=False, server_default="{}"),
    Column("client_address", Text, nullable=False),
    Column("consent_text", Text, nullable=False),
    moment("created_at"),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("contact_id", Uuid),
)

# What the chassis keeps of events that were read: each is there from the commit that carried it out.
inbox = Table(
    "inbox",
    metadata,
    organization_id(),
    Column("reader", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    moment("created_at"),
)

usage = Table(
    "usage",
    metadata,
    organization_id(),
    Column("contacts", BigInteger, nullable=False),
)

imports = Table(
    "imports",
    metadata,
    organization_id(),
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("list_id", Uuid),
    # What the file's columns are, by their names there, as far as that was said.
    Column("columns", JSONB, nullable=False, server_default="{}"),
    Column("tags", ARRAY(Text), nullable=False, server_default="{}"),
    Column("dry_run", Boolean, nullable=False, server_default="false"),
    Column("only_new", Boolean, nullable=False, server_default="false"),
    Column("size_bytes", BigInteger, nullable=False),
    # What the plan allowed when the import was asked for.
    Column("contact_limit", BigInteger, nullable=False),
    _count("processed_rows"),
    _count("created_contacts"),
    _count("updated_contacts"),
    _count("duplicate_rows"),
    _count("failed_rows"),
    Column("failure", Text, nullable=False, server_default=""),
    # Where the next chunk begins: everything before it is in the database, nothing after it is.
    Column("next_offset", BigInteger, nullable=False, server_default="0"),
    Column("next_line", Integer, nullable=False, server_default="1"),
    Column("inside_refused_line", Boolean, nullable=False, server_default="false"),
    # Who works on it, and until when nobody else may.
    Column("lease_token", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    # Claims since the last chunk that went through.
    _count("attempts"),
    moment("created_at"),
    Column("completed_at", DateTime(timezone=True)),
)

# A file in parts of uploads.PART_SIZE bytes, numbered from 0; gone when its import ends.
import_parts = Table(
    "import_parts",
    metadata,
    organization_id(),
    Column("import_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

import_row_errors = Table(
    "import_row_errors",
    metadata,
    organization_id(),
    Column("import_id", Uuid, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("field", Text, nullable=False),
    Column("message", Text, nullable=False),
)

# The addresses that a dry run has met.
import_addresses = Table(
    "import_addresses",
    metadata,
    organization_id(),
    Column("import_id", Uuid, primary_key=True),
    Column("email_digest", LargeBinary, primary_key=True),
)
