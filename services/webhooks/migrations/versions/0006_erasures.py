"""Organizations that are erased."""

from chassis.migrations.ddl import create_erasures

revision = "0006"
down_revision = "0005"

# What nothing is deleted from but with its organization; events go with a person who is erased, too.
_ADDED_TO = (
    "erased_contacts",
    "deliveries",
    "attempts",
    "replays",
)


def upgrade() -> None:
    create_erasures(_ADDED_TO)
