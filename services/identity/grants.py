"""The grants in Redis: what each live credential may do, shared by all gateways for a minute at most.

Whoever takes something away leaves a hold and deletes the grants it stands against before the change commits. Until the
hold ends nobody can fill the cache again, so a fill that read PostgreSQL before the change cannot bring the old grant
back. A fill that is late, by the clock of Redis, is dropped: it must not outlive the hold. One that began before Redis
lost its memory, and so its holds, is dropped too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from time import time
from typing import TypeAlias
from uuid import UUID, uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chassis.context import PLATFORM
from chassis.derived_key import DerivedKey
from chassis.errors import Unavailable
from chassis.logs import logger
from flownurture.identity.v1 import admission_pb2 as pb

_LIFETIME = timedelta(minutes=1)
_HOLD_MS = 60_000
# So many derived keys of one key are remembered as genuine, and what little else a grant has. Whoever uses more at a time
# is let in too; identity only looks at them more often.
_MOST_FIELDS = 256
# From reading PostgreSQL to writing Redis. Far less than a hold.
_FILL_WITHIN_MS = 10_000

# A name for what Redis remembers: another one after it has forgotten.
_MEMORY = "grants:memory"
# KEYS: memory. ARGV: a name for it, should it have none. Answers the name and the time in Unix ms.
_BEGIN = """
local now = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return {redis.call('GET', KEYS[1]), now[1] * 1000 + math.floor(now[2] / 1000)}
"""
# KEYS: memory, grant, and the holds that stand against it: on the credential, its member, its organization. ARGV: the
# memory's name when the reading began, Unix ms until which to write at all, lifetime in ms, the most fields that a grant
# may have before it begins anew, and its fields and their values.
_FILL = """
local now = redis.call('TIME')
if redis.call('GET', KEYS[1]) ~= ARGV[1] or now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[2])
    or redis.call('EXISTS', unpack(KEYS, 3)) > 0 then
  return 0
end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4]) then
  redis.call('DEL', KEYS[2])
end
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""

# Of a grant in Redis, by name. `secret` and `derived:…` are what a gateway knows a genuine credential by.
Fields: TypeAlias = dict[str | bytes, bytes | int]


@dataclass(frozen=True, slots=True)
class Reading:
    """That somebody is about to read PostgreSQL in order to fill the cache."""

    memory: bytes
    fill_until_ms: int


class Grants:
    """The cache as identity uses it; gateways read the same keys."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._begin = self._redis.register_script(_BEGIN)
        self._fill = self._redis.register_script(_FILL)

    async def begin_reading(self) -> Reading | None:
        """To be called before PostgreSQL is read; None when Redis does not answer, and so nothing can be filled."""
        try:
            memory, now = await self._begin(keys=[_MEMORY], args=[uuid4().hex])
        except RedisError as error:
            logger().warning("grants_not_readable", error=type(error).__name__)
            return None
        return Reading(memory, now + _FILL_WITHIN_MS)

    async def fill_session(
        self,
        session_id: UUID,
        grant: pb.Grant,
        reading: Reading | None,
        *,
        stands_for: timedelta = _LIFETIME,
    ) -> None:
        """Cache a session's grant, read from PostgreSQL after `reading` began, for as long as it stands at most."""
        member = f"member:{_organization(grant)}:{grant.actor.id}"
        await self._fill_unless_held(
            f"session:{session_id}", grant, {"secret": b""}, reading, stands_for, member
        )

    async def fill_api_key(
        self,
        key_id: UUID,
        grant: pb.Grant,
        secret_digest: bytes,
        reading: Reading | None,
        *,
        derived: DerivedKey | None = None,
        stands_for: timedelta = _LIFETIME,
    ) -> None:
        """Cache a key's grant, with the digest that a gateway compares the key's secret with.

        A derived key whose chain has been checked is remembered in the same grant, and so goes with it.
        """
        proofs: Fields = {"secret": secret_digest}
        if derived is not None:
            proofs[b"derived:" + derived.digest] = b""
        await self._fill_unless_held(f"key:{key_id}", grant, proofs, reading, stands_for)

    async def hold_session(self, session_id: UUID) -> None:
        """Take back what a session may do; Unavailable when Redis does not confirm it."""
        await self._hold(f"session:{session_id}", [f"session:{session_id}"])

    async def hold_api_key(self, key_id: UUID) -> None:
        """Take back what a key may do; Unavailable when Redis does not confirm it."""
        await self._hold(f"key:{key_id}", [f"key:{key_id}"])

    async def hold_member(self, organization_id: UUID, user_id: UUID) -> None:
        """Let no grant of the member's sessions in this organization be cached for a while.

        Those that are cached already stand until `drop`: read which sessions there are after this, so that none is missed.
        """
        await self._hold(f"member:{organization_id}:{user_id}", ())

    async def hold_organization(self, organization_id: UUID) -> None:
        """As `hold_member`, for every session and key of an organization."""
        await self._hold(f"organization:{organization_id}", ())

    async def drop(self, *, sessions: Iterable[UUID] = (), api_keys: Iterable[UUID] = ()) -> None:
        """Take back what these may do; Unavailable when Redis does not confirm it."""
        names = [f"grant:session:{session_id}" for session_id in sessions]
        names += [f"grant:key:{key_id}" for key_id in api_keys]
        if not names:
            return
        try:
            await self._redis.delete(*names)
        except RedisError as error:
            raise _not_told(error) from None

    async def _fill_unless_held(
        self,
        credential: str,
        grant: pb.Grant,
        proofs: Fields,
        reading: Reading | None,
        stands_for: timedelta,
        *further_holds: str,
    ) -> None:
        lifetime = min(_LIFETIME, stands_for) // timedelta(milliseconds=1)
        if grant.HasField("expires_at"):
            lifetime = min(lifetime, grant.expires_at.ToMilliseconds() - int(time() * 1000))
        if lifetime <= 0 or reading is None:
            return
        holds = (credential, *further_holds, f"organization:{_organization(grant)}")
        # The limit in a field of its own: so a gateway's script can count without reading the grant.
        fields: Fields = {
            "grant": grant.SerializeToString(),
            "requests_per_minute": grant.requests_per_minute,
            **proofs,
        }
        try:
            await self._fill(
                keys=[_MEMORY, f"grant:{credential}", *(f"hold:{held}" for held in holds)],
                args=[
                    reading.memory,
                    reading.fill_until_ms,
                    lifetime,
                    _MOST_FIELDS,
                    *chain.from_iterable(fields.items()),
                ],
            )
        except RedisError as error:
            # The answer stands without the cache; gateways ask again.
            logger().warning("grant_not_cached", error=type(error).__name__)

    async def _hold(self, held: str, credentials: Iterable[str]) -> None:
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.set(f"hold:{held}", 1, px=_HOLD_MS)
                for credential in credentials:
                    pipeline.delete(f"grant:{credential}")
                await pipeline.execute()
        except RedisError as error:
            raise _not_told(error) from None


def _organization(grant: pb.Grant) -> str:
    return grant.organization_id or str(PLATFORM)


def _not_told(error: RedisError) -> Unavailable:
    logger().warning("grant_not_held", error=type(error).__name__)
    return Unavailable("Nothing was changed: the gateways cannot be told at the moment.")
