"""Idempotency keys: the same request under the same key is done once, and answered alike each time.

As in the IETF draft `draft-ietf-httpapi-idempotency-key-header`. What a request did and what it answered commit in one
transaction. The answer is stored sealed with the key itself, of which the table knows a digest only: an answer may hold
a secret that is shown once, and only who sent the key can have it shown again.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from os import urandom
from typing import TypeVar, cast
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.contract.events import message_type
from chassis.database import TenantSession
from chassis.errors import Conflict, InvalidRequest

Response = TypeVar("Response", bound=Message)

_NONCE_BYTES = 12
# Before the look and not with it: a statement that takes the lock may see the rows of before it had it.
_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LOOK = text("SELECT method, request_digest, response FROM idempotency_keys WHERE key_digest = :key_digest")
_REMEMBER = text("""
    INSERT INTO idempotency_keys (key_digest, method, request_digest, response)
    VALUES (:key_digest, :method, :request_digest, :response)
""")


async def remembered(
    session: TenantSession,
    context: RequestContext,
    method: str,
    fingerprint: bytes,
    make: Callable[[], Awaitable[Response]],
) -> Response:
    """The answer that `make` gives, or gave when the context's key was first used.

    `fingerprint` stands for the whole request. Raises Conflict (IDEMPOTENCY_IN_FLIGHT) while the first request runs,
    InvalidRequest (IDEMPOTENCY_MISMATCH) when the key was used for another. A request that fails is not remembered.
    """
    if context.idempotency_key is None:
        return await make()
    key = context.idempotency_key.encode()
    key_digest = sha256(b"digest" + key).digest()
    request_digest = sha256(fingerprint).digest()
    lock = _lock_number(context.organization, key_digest)

    alone = await session.scalar(_LOCK, {"lock": lock})
    earlier = (await session.execute(_LOOK, {"key_digest": key_digest})).one_or_none()
    if earlier is not None:
        if (earlier.method, earlier.request_digest) != (method, request_digest):
            raise InvalidRequest(
                message="This idempotency key was used for another request.", reason="IDEMPOTENCY_MISMATCH"
            )
        return cast(Response, _opened(key, key_digest, earlier.response))
    if not alone:
        raise Conflict(
            "A request with this idempotency key is still running.", reason="IDEMPOTENCY_IN_FLIGHT"
        )

    response = await make()
    await session.execute(
        _REMEMBER,
        {
            "key_digest": key_digest,
            "method": method,
            "request_digest": request_digest,
            "response": _sealed(key, key_digest, response),
        },
    )
    return response


def _lock_number(organization: UUID, key_digest: bytes) -> int:
    return int.from_bytes(sha256(organization.bytes + key_digest).digest()[:8], signed=True)


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(sha256(b"answer" + key).digest())


def _sealed(key: bytes, key_digest: bytes, response: Message) -> bytes:
    packed = AnyMessage()
    packed.Pack(response)
    nonce = urandom(_NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, packed.SerializeToString(), key_digest)


def _opened(key: bytes, key_digest: bytes, sealed: bytes) -> Message:
    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    packed = AnyMessage.FromString(_cipher(key).decrypt(nonce, ciphertext, key_digest))
    return message_type(packed.TypeName()).FromString(packed.value)
