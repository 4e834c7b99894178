"""The Transit engine of HashiCorp Vault (or OpenBao) as the keeper of the key-encryption key, by hvac (extra `vault-transit`).

https://developer.hashicorp.com/vault/api-docs/secret/transit. The key is one of aes256-gcm96 or chacha20-poly1305, which
authenticate what is associated. What the process does takes `update` on `encrypt/` and `decrypt/`, and `read` on `keys/`,
of that key. After a rotation of it, `rewrap-keys` wraps by the new version.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import hvac
from hvac.exceptions import InvalidRequest, VaultError
from requests.exceptions import RequestException

from chassis import logs
from chassis.errors import Unavailable
from chassis.secret import Secret
from chassis.vault.wrapping import DoesNotOpen, Wrapped

# Some transaction may be waiting.
_TIMEOUT_SECONDS = 5


class VaultTransit:
    """Wraps by a named key of a Transit engine; what wraps a data key is known by its name and version (`name:v3`).

    Without a token, hvac's own places for one apply: VAULT_TOKEN, or none where an agent adds it.
    """

    def __init__(self, url: str, key: str, *, mount: str, token: Secret | None) -> None:
        self._key = key
        self._mount = mount
        client = hvac.Client(url, token.reveal() if token is not None else None, timeout=_TIMEOUT_SECONDS)
        self._transit = client.secrets.transit

    async def current_key(self) -> str:
        """The key's newest version. Raises Unavailable."""
        answer = await self._asked("read_key", self._key)
        return f"{self._key}:v{answer['data']['latest_version']}"

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        """Encrypt by the newest version, with the context as associated data. Raises Unavailable."""
        answer = await self._asked(
            "encrypt_data",
            self._key,
            plaintext=b64encode(plain).decode(),
            associated_data=_associated(context),
        )
        ciphertext = str(answer["data"]["ciphertext"])
        # `vault:v3:…`
        version = ciphertext.split(":")[1]
        return Wrapped(f"{self._key}:{version}", ciphertext.encode())

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Decrypt by the key that is stored with it. Raises DoesNotOpen, Unavailable."""
        try:
            ciphertext = wrapped.ciphertext.decode()
        except UnicodeDecodeError:
            raise DoesNotOpen from None
        answer = await self._asked(
            "decrypt_data",
            wrapped.key.rpartition(":")[0],
            ciphertext=ciphertext,
            associated_data=_associated(context),
        )
        return b64decode(answer["data"]["plaintext"])

    async def _asked(self, operation: str, key: str, **request: str) -> Any:
        try:
            return await asyncio.to_thread(
                getattr(self._transit, operation), key, mount_point=self._mount, **request
            )
        except (VaultError, RequestException) as error:
            if operation == "decrypt_data" and isinstance(error, InvalidRequest):
                raise DoesNotOpen from error
            logs.logger().warning("key service failed", operation=operation, error=str(error))
            raise Unavailable("The key service does not answer.") from error


def _associated(context: Mapping[str, str]) -> str:
    return b64encode(json.dumps(dict(context), sort_keys=True).encode()).decode()
