"""Organizations that are erased."""

from chassis.migrations.ddl import create_erasures

revision = "0007"
down_revision = "0006"

# What nothing is deleted from but with its organization.
_ADDED_TO = (
    "usage",
    "custom_fields",
    "contact_events",
    "bulk_changes",
    "exports",
    "segments_watched",
    "suppressed_addresses",
    "imports",
    "import_row_errors",
)


def upgrade() -> None:
    create_erasures(_ADDED_TO)
