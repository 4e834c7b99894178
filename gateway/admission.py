"""Admission: is the credential live, what may it do, and is it inside its rate limit?

One round trip to Redis answers all of it. What Redis does not know, identity does; when neither answers, nobody is
admitted. Nothing about liveness or permission is kept in this process.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prometheus_client import Counter

from chassis.errors import Unauthenticated
from flownurture.identity.v1 import admission_pb2
from gateway.credentials import Credential
from gateway.redis_script import RedisScript, RedisUnavailable
from gateway.shared_calls import SharedCalls

SCRIPT = Path(__file__).with_name("admission.lua").read_text()

ADMISSIONS = Counter(
    "flownurture_gateway_admissions_total",
    "Credentials looked up: where the grant came from, and whether the request was counted against a rate limit.",
    ("source", "counted"),
)

Resolve = Callable[[Credential], Awaitable[admission_pb2.Grant]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a credential stands against its limit, as draft-ietf-httpapi-ratelimit-headers tells it."""

    limit: int  # requests a minute
    allowed: bool
    remaining: int
    seconds: int  # until all is available again; if refused, until one request is

    @classmethod
    def read(cls, limit: int, allowed: int, remaining: int, microseconds: int) -> Self:
        """From the script's answer."""
        return cls(limit, bool(allowed), remaining, math.ceil(microseconds / 1_000_000))

    def headers(self) -> list[tuple[str, str]]:
        """The RateLimit and RateLimit-Policy fields."""
        return [
            ("ratelimit", f'"default";r={self.remaining};t={self.seconds}'),
            ("ratelimit-policy", f'"default";q={self.limit};w=60'),
        ]


class Admission:
    """Looks credentials up and counts their requests."""

    def __init__(self, script: RedisScript, resolve: Resolve) -> None:
        self._script = script
        self._resolve = resolve
        self._resolutions: SharedCalls[Credential, admission_pb2.Grant] = SharedCalls()
        self._from_redis = ADMISSIONS.labels("redis", "yes")

    async def admit(self, credential: Credential) -> tuple[bytes, Rate | None]:
        """The serialized Grant of a live credential, and its rate unless it could not be counted.

        Raises Unauthenticated when it is not live, Unavailable when nobody can tell.
        """
        grant = b""
        try:
            answer = await self._run(credential, "")
        except RedisUnavailable:
            pass
        else:
            if answer[0] == b"counted":
                self._from_redis.inc()
                return answer[1], Rate.read(*answer[2:])
            if answer[0] == b"mismatch":
                raise Unauthenticated
            if answer[0] == b"uncounted":
                grant = answer[1]
        return await self._admit_slowly(credential, grant)

    async def _admit_slowly(self, credential: Credential, grant: bytes) -> tuple[bytes, Rate | None]:
        source = "redis"
        if not grant:
            resolved = await self._resolutions.share(credential, lambda: self._resolve(credential))
            source, grant = "identity", resolved.SerializeToString()
        else:
            resolved = admission_pb2.Grant.FromString(grant)
        rate = await self._count(credential, resolved.requests_per_minute)
        ADMISSIONS.labels(source, "no" if rate is None else "yes").inc()
        return grant, rate

    async def _count(self, credential: Credential, limit: int) -> Rate | None:
        if limit == 0:
            return None
        try:
            answer = await self._run(credential, limit)
        except RedisUnavailable:
            return None
        return Rate.read(*answer[2:])

    async def _run(self, credential: Credential, limit: int | str) -> list[Any]:
        keys = (f"grant:{credential.name}", f"rate:{credential.name}")
        return await self._script.run(keys, (limit, *credential.proof))
