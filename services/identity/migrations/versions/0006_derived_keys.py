"""Keys from which narrower ones can be derived: the key of the chain's signatures, sealed."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # Without one nothing can be derived from the key; every key made from now on has one.
    op.execute("ALTER TABLE api_keys ADD sealed_chain_key bytea")
