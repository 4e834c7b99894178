"""The tables of schema `contacts`, as SQLAlchemy Core sees them; `migrations/` makes them.

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

from chassis.columns import moment, organization_id

metadata = MetaData()


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


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
    # The import that touched the contact last: how an import knows the rows it has seen already.
    Column("last_import_id", Uuid),
    moment("created_at"),
    moment("updated_at"),
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
    moment("created_at"),
)

memberships = Table(
    "memberships",
    metadata,
    organization_id(),
    Column("list_id", Uuid, primary_key=True),
    Column("contact_id", Uuid, primary_key=True),
    moment("added_at"),
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
