"""AWS KMS as its API reference has it: Encrypt, Decrypt and DescribeKey by JSON 1.1, of symmetric keys.

https://docs.aws.amazon.com/kms/latest/APIReference/. A ciphertext says which key made it; the encryption context is
authenticated with it, in whatever order it is given.
"""

import json
from base64 import b64decode, b64encode
from os import urandom
from typing import Any
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ARN = "arn:aws:kms:eu-central-1:111122223333:key/"


class Kms:
    def __init__(self) -> None:
        self.spoiled: tuple[int, dict[str, Any]] | None = None
        self.disabled: set[str] = set()
        self.aliases: dict[str, str] = {}
        self._keys: dict[str, AESGCM] = {}

    def create_key(self) -> str:
        """Its ARN."""
        arn = f"{_ARN}{uuid4()}"
        self._keys[arn] = AESGCM(urandom(32))
        return arn

    def delete_key(self, arn: str) -> None:
        del self._keys[arn]

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, dict[str, Any]]:
        if "/kms/aws4_request" not in headers.get("Authorization", ""):
            return 400, {
                "__type": "MissingAuthenticationTokenException",
                "message": "Missing Authentication Token",
            }
        operation = {
            "TrentService.Encrypt": self._encrypt,
            "TrentService.Decrypt": self._decrypt,
            "TrentService.DescribeKey": self._describe_key,
        }[headers["X-Amz-Target"]]
        try:
            return 200, operation(body)
        except _Refused as refused:
            return 400, {"__type": refused.args[0], "message": refused.args[0]}

    def _found(self, key: str) -> str:
        arn = self.aliases.get(key, key if key.startswith("arn:") else _ARN + key)
        if arn not in self._keys:
            raise _Refused("NotFoundException")
        if arn in self.disabled:
            raise _Refused("DisabledException")
        return arn

    def _encrypt(self, body: Any) -> dict[str, Any]:
        arn, nonce = self._found(body["KeyId"]), urandom(12)
        ciphertext = self._keys[arn].encrypt(nonce, b64decode(body["Plaintext"]), _authenticated(body))
        blob = UUID(arn.removeprefix(_ARN)).bytes + nonce + ciphertext
        return {
            "CiphertextBlob": b64encode(blob).decode(),
            "KeyId": arn,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _decrypt(self, body: Any) -> dict[str, Any]:
        arn, blob = self._found(body["KeyId"]), b64decode(body["CiphertextBlob"])
        if len(blob) < 28 + 16:
            raise _Refused("InvalidCiphertextException")
        if _ARN + str(UUID(bytes=blob[:16])) != arn:
            raise _Refused("IncorrectKeyException")
        try:
            plain = self._keys[arn].decrypt(blob[16:28], blob[28:], _authenticated(body))
        except InvalidTag:
            raise _Refused("InvalidCiphertextException") from None
        return {
            "Plaintext": b64encode(plain).decode(),
            "KeyId": arn,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _describe_key(self, body: Any) -> dict[str, Any]:
        arn = self._found(body["KeyId"])
        return {"KeyMetadata": {"Arn": arn, "KeyId": arn.removeprefix(_ARN), "Enabled": True}}


class _Refused(Exception):
    pass


def _authenticated(body: Any) -> bytes:
    return json.dumps(body.get("EncryptionContext", {}), sort_keys=True).encode()
