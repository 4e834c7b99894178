"""What of the schema is sealed by data keys. Bodies of mails that let in are not: they come in envelopes, for delivery alone."""

from chassis.vault.sealed_columns import SealedColumn
from services.sending.tables import dkim_keys, ip_pool_addresses

SEALED_COLUMNS = (
    SealedColumn(dkim_keys, "sealed_key"),
    SealedColumn(ip_pool_addresses, "sealed_relay_url"),
)
