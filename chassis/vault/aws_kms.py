"""AWS Key Management Service as the keeper of the key-encryption key, by boto3 (extra `aws-kms`).

Region, credentials and end point are boto3's to find: https://docs.aws.amazon.com/boto3/latest/guide/configuration.html.
What the process does takes `kms:Encrypt`, `kms:Decrypt` and `kms:DescribeKey` on the key. Replacing its material is the
service's own affair and needs no wrapping again; another key in `KMS_KEY_ID` does.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chassis import logs
from chassis.errors import Unavailable
from chassis.vault.wrapping import DoesNotOpen, Wrapped

# Some transaction may be waiting: at most ten seconds go by, with the second attempt.
_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors. A key that is disabled, or
# waits for its deletion, may come back: for such one does not answer.
_DOES_NOT_OPEN = {"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException"}


class AwsKms:
    """Wraps by a symmetric key of KMS, named by its id, ARN or alias; what wraps a data key is known by its ARN."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._client = boto3.client("kms", config=_CONFIG)

    async def current_key(self) -> str:
        """The ARN of the key that is configured. Raises Unavailable."""
        described = await self._asked("describe_key", KeyId=self._key)
        return str(described["KeyMetadata"]["Arn"])

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        """Encrypt, with the context as encryption context. Raises Unavailable."""
        answer = await self._asked(
            "encrypt", KeyId=self._key, Plaintext=plain, EncryptionContext=dict(context)
        )
        return Wrapped(answer["KeyId"], answer["CiphertextBlob"])

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Decrypt by the key that is stored with it, and no other. Raises DoesNotOpen, Unavailable."""
        answer = await self._asked(
            "decrypt",
            KeyId=wrapped.key,
            CiphertextBlob=wrapped.ciphertext,
            EncryptionContext=dict(context),
        )
        return bytes(answer["Plaintext"])

    async def _asked(self, operation: str, **request: Any) -> Any:
        try:
            return await asyncio.to_thread(getattr(self._client, operation), **request)
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if operation == "decrypt" and code in _DOES_NOT_OPEN:
                raise DoesNotOpen from error
            logs.logger().warning("key service failed", operation=operation, error=str(error))
            raise Unavailable("The key service does not answer.") from error
