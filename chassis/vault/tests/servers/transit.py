"""The Transit engine of HashiCorp Vault as its API reference has it: encrypt, decrypt and the reading of keys.

https://developer.hashicorp.com/vault/api-docs/secret/transit. Keys are aes256-gcm96, in versions.
"""

from base64 import b64decode, b64encode
from os import urandom
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.of-the-test"


class Transit:
    def __init__(self) -> None:
        self.spoiled: tuple[int, dict[str, Any]] | None = None
        self.minimum_version = 1
        self._keys: dict[str, list[AESGCM]] = {}

    def rotate(self, name: str) -> None:
        """As creating a key does, too."""
        self._keys.setdefault(name, []).append(AESGCM(urandom(32)))

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, dict[str, Any]]:
        if headers.get("X-Vault-Token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        _, version, mount, operation, name = path.split("/")
        if (version, mount) != ("v1", "transit"):
            return 404, {"errors": [f'no handler for route "{mount}/{operation}/{name}".']}
        if name not in self._keys:
            return (
                (404, {"errors": []}) if method == "GET" else (400, {"errors": ["encryption key not found"]})
            )
        try:
            return 200, {"data": self._done(operation, self._keys[name], body)}
        except _Refused as refused:
            return 400, {"errors": [refused.args[0]]}

    def _done(self, operation: str, versions: list[AESGCM], body: Any) -> dict[str, Any]:
        if operation == "keys":
            return self._read(versions)
        return self._encrypt(versions, body) if operation == "encrypt" else self._decrypt(versions, body)

    def _encrypt(self, versions: list[AESGCM], body: Any) -> dict[str, Any]:
        nonce = urandom(12)
        plain, associated = b64decode(body["plaintext"]), b64decode(body.get("associated_data", ""))
        ciphertext = nonce + versions[-1].encrypt(nonce, plain, associated)
        number = len(versions)
        return {"ciphertext": f"vault:v{number}:{b64encode(ciphertext).decode()}", "key_version": number}

    def _decrypt(self, versions: list[AESGCM], body: Any) -> dict[str, Any]:
        prefix, version, written = body["ciphertext"].split(":")
        if prefix != "vault":
            raise _Refused("invalid ciphertext: no prefix")
        if (number := int(version[1:])) < self.minimum_version:
            raise _Refused("ciphertext or signature version is disallowed by policy (too old)")
        try:
            ciphertext = b64decode(written, validate=True)
            associated = b64decode(body.get("associated_data", ""))
            plain = versions[number - 1].decrypt(ciphertext[:12], ciphertext[12:], associated)
        except (ValueError, InvalidTag):
            raise _Refused("cipher: message authentication failed") from None
        return {"plaintext": b64encode(plain).decode()}

    def _read(self, versions: list[AESGCM]) -> dict[str, Any]:
        return {
            "type": "aes256-gcm96",
            "latest_version": len(versions),
            "min_decryption_version": self.minimum_version,
            "min_encryption_version": 0,
            "supports_encryption": True,
        }


class _Refused(Exception):
    pass
