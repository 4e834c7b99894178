"""Idempotency keys: the same request under the same key is done once, and answered alike each time.

As in the IETF draft `draft-ietf-httpapi-idempotency-key-header`. What a request did and what it answered commit in one
transaction. The answer is stored sealed with the key itself, of which the table knows a digest only: an answer may hold
a secret that is shown once, and only who sent the key can have it shown again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from os import urandom
from typing import Any, TypeVar, cast

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from sqlalchemy import Row, text

from chassis.context import RequestContext
from chassis.contract.events import message_type
from chassis.database import TenantSession
from chassis.errors import Conflict, DomainError, InvalidRequest

Response = TypeVar("Response", bound=Message)

_NONCE_BYTES = 12
# Before the look and not with it: a statement that takes the lock may see the rows of before it had it.
_LOCK = text("SELECT pg_try_advisory_xact_lock(lock) FROM unnest(CAST(:locks AS bigint[])) AS lock")
_LOOK = text("""
    SELECT key_digest, method, request_digest, response FROM idempotency_keys
    WHERE key_digest = ANY(CAST(:key_digests AS bytea[]))
""")
_REMEMBER = text("""
    INSERT INTO idempotency_keys (key_digest, method, request_digest, response)
    SELECT * FROM unnest(
        CAST(:key_digests AS bytea[]), CAST(:methods AS text[]), CAST(:request_digests AS bytea[]),
        CAST(:responses AS bytea[])
    )
""")


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request under a key."""

    key: bytes
    method: str
    key_digest: bytes
    request_digest: bytes
    lock: int

    @classmethod
    def of(cls, context: RequestContext, method: str, fingerprint: bytes) -> "KeyedRequest | None":
        """The request under the context's key, if it has one; `fingerprint` stands for the whole request."""
        if context.idempotency_key is None:
            return None
        key = context.idempotency_key.encode()
        key_digest = sha256(b"digest" + key).digest()
        lock = sha256(context.organization.bytes + key_digest).digest()[:8]
        return cls(key, method, key_digest, sha256(fingerprint).digest(), int.from_bytes(lock, signed=True))


def fingerprint_of(method: str, request: Message) -> bytes:
    """What stands for a whole request: equal for equal ones."""
    return sha256(method.encode() + b"\n" + request.SerializeToString(deterministic=True)).digest()


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
    keyed = KeyedRequest.of(context, method, fingerprint)
    if keyed is None:
        return await make()
    (earlier,) = await recall(session, [keyed])
    if isinstance(earlier, DomainError):
        raise earlier
    if earlier is not None:
        return cast(Response, earlier)
    response = await make()
    await remember(session, [(keyed, response)])
    return response


async def recall(
    session: TenantSession, requests: Sequence[KeyedRequest]
) -> list[Message | DomainError | None]:
    """What each request was answered when its key was first used: None for one that is to be done now, and then remembered.

    As `remembered` for many requests in one transaction; what that raises is given here.
    """
    if not requests:
        return []
    locked = await session.execute(_LOCK, {"locks": [request.lock for request in requests]})
    alone = list(locked.scalars())
    found = await session.execute(_LOOK, {"key_digests": [request.key_digest for request in requests]})
    earlier = {bytes(row.key_digest): row for row in found}
    recalled: list[Message | DomainError | None] = []
    begun: set[bytes] = set()
    for request, has_lock in zip(requests, alone, strict=True):
        row = earlier.get(request.key_digest)
        if row is not None:
            recalled.append(_answered(request, row))
        elif has_lock and request.key_digest not in begun:
            begun.add(request.key_digest)
            recalled.append(None)
        else:
            recalled.append(
                Conflict(
                    "A request with this idempotency key is still running.", reason="IDEMPOTENCY_IN_FLIGHT"
                )
            )
    return recalled


async def remember(session: TenantSession, answers: Sequence[tuple[KeyedRequest, Message]]) -> None:
    """Keep what requests are answered, with what they did."""
    if not answers:
        return
    requests = [request for request, _ in answers]
    await session.execute(
        _REMEMBER,
        {
            "key_digests": [request.key_digest for request in requests],
            "methods": [request.method for request in requests],
            "request_digests": [request.request_digest for request in requests],
            "responses": [
                _sealed(request.key, request.key_digest, response) for request, response in answers
            ],
        },
    )


def _answered(request: KeyedRequest, earlier: Row[Any]) -> Message | DomainError:
    if (earlier.method, bytes(earlier.request_digest)) != (request.method, request.request_digest):
        return InvalidRequest(
            message="This idempotency key was used for another request.", reason="IDEMPOTENCY_MISMATCH"
        )
    return _opened(request.key, request.key_digest, bytes(earlier.response))


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
