"""What an endpoint keeps sealed: what it signs with, and the values of headers of its own, which may be credentials."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chassis.secret import Secret
from chassis.vault.keyring import Keyring
from chassis.vault.sealed_columns import SealedColumn
from services.webhooks.tables import endpoints

_TABLE = "endpoints"

SEALED_COLUMNS = (
    SealedColumn(endpoints, "sealed_secret"),
    SealedColumn(endpoints, "sealed_previous_secret"),
    SealedColumn(endpoints, "headers_sealed"),
)


def sealed_secret(keyring: Keyring, endpoint_id: UUID, secret: Secret) -> bytes:
    """For `sealed_secret`."""
    return keyring.seal(secret.reveal().encode(), table=_TABLE, row=endpoint_id, column="sealed_secret")


def sealed_previous_secret(keyring: Keyring, endpoint_id: UUID, secret: Secret) -> bytes:
    """For `sealed_previous_secret`: sealed for one column, a secret does not open in the other."""
    return keyring.seal(
        secret.reveal().encode(), table=_TABLE, row=endpoint_id, column="sealed_previous_secret"
    )


def sealed_headers(
    keyring: Keyring, endpoint_id: UUID, headers: Sequence[tuple[str, Secret]]
) -> bytes | None:
    """For `headers_sealed`; None where there are none."""
    if not headers:
        return None
    plain = json.dumps([[name, value.reveal()] for name, value in headers])
    return keyring.seal(plain.encode(), table=_TABLE, row=endpoint_id, column="headers_sealed")


def opened_secrets(row: Any, keyring: Keyring) -> list[Secret]:
    """Of a row of `endpoints`: the present secret, and the one before it where there is one."""
    columns = ("sealed_secret", "sealed_previous_secret")
    return [
        keyring.open(sealed, table=_TABLE, row=row.id, column=column)
        for column in columns
        if (sealed := getattr(row, column)) is not None
    ]


def opened_headers(row: Any, keyring: Keyring) -> list[tuple[str, Secret]]:
    """Of a row of `endpoints`: its headers, by name."""
    if row.headers_sealed is None:
        return []
    plain = keyring.open(row.headers_sealed, table=_TABLE, row=row.id, column="headers_sealed")
    return [(name, Secret(value)) for name, value in json.loads(plain.reveal())]
