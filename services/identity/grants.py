"""The grants in Redis: what each live credential may do, shared by all gateways for a minute at most.

Whoever takes something away deletes the grant and leaves a hold in its place before the change commits. Until the hold
ends nobody can fill the cache again, so a fill that read PostgreSQL before the change cannot bring the old grant back.
A fill that is late, by the clock of Redis, is dropped: it must not outlive the hold.
"""

import time
from typing import Self
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.secret import Secret
from flownurture.identity.v1 import admission_pb2 as pb

_LIFETIME_MS = 60_000
_HOLD_MS = 60_000
# From reading PostgreSQL to writing Redis. Far less than a hold, so that clocks may differ by most of a minute.
_FILL_WITHIN_MS = 10_000
_TIMEOUT = 2.0  # seconds

# KEYS: hold, grant. ARGV: grant, requests per minute (in a field of its own, so that a gateway's script can count without
# reading the grant), digest of a key's secret or "", lifetime in ms, Unix ms until which to write at all.
_FILL = """
local now = redis.call('TIME')
if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[5]) or redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[2], 'grant', ARGV[1], 'requests_per_minute', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], 'secret', ARGV[3])
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""


class Grants:
    """The cache as identity uses it; gateways read the same keys. An async context manager."""

    def __init__(self, url: Secret) -> None:
        self._redis = Redis.from_url(
            url.reveal(),
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # At once and no more than once: for a pooled connection that Redis has closed meanwhile.
            retry=Retry(NoBackoff(), retries=1),
        )
        self._fill = self._redis.register_script(_FILL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()

    async def fill_session(self, session_id: UUID, grant: pb.Grant, read_at: float) -> None:
        """Cache a session's grant, read from PostgreSQL not before `read_at` (Unix seconds)."""
        await self._fill_unless_held(f"session:{session_id}", grant, b"", read_at)

    async def fill_api_key(self, key_id: UUID, grant: pb.Grant, secret_digest: bytes, read_at: float) -> None:
        """Cache a key's grant, with the digest that a gateway compares the key's secret with."""
        await self._fill_unless_held(f"key:{key_id}", grant, secret_digest, read_at)

    async def hold_session(self, session_id: UUID) -> None:
        """Take back what a session may do; Unavailable when Redis does not confirm it."""
        await self._hold(f"session:{session_id}")

    async def hold_api_key(self, key_id: UUID) -> None:
        """Take back what a key may do; Unavailable when Redis does not confirm it."""
        await self._hold(f"key:{key_id}")

    async def _fill_unless_held(
        self, credential: str, grant: pb.Grant, secret_digest: bytes, read_at: float
    ) -> None:
        lifetime = _LIFETIME_MS
        if grant.HasField("expires_at"):
            lifetime = min(lifetime, grant.expires_at.ToMilliseconds() - int(time.time() * 1000))
        if lifetime <= 0:
            return
        until = int(read_at * 1000) + _FILL_WITHIN_MS
        try:
            await self._fill(
                keys=[f"hold:{credential}", f"grant:{credential}"],
                args=[grant.SerializeToString(), grant.requests_per_minute, secret_digest, lifetime, until],
            )
        except RedisError as error:
            # The answer stands without the cache; gateways ask again.
            logger().warning("grant_not_cached", error=type(error).__name__)

    async def _hold(self, credential: str) -> None:
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.set(f"hold:{credential}", 1, px=_HOLD_MS)
                pipeline.delete(f"grant:{credential}")
                await pipeline.execute()
        except RedisError as error:
            logger().warning("grant_not_held", error=type(error).__name__)
            raise Unavailable("Nothing was changed: the gateways cannot be told at the moment.") from None
