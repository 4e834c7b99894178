"""How often something may be tried that could be guessed or abused: counted in Redis, one round trip for all counts.

The generic cell rate algorithm, as at the gateway. An attempt is counted before it is made and given back when it proves
right, so only failures add up. Nothing here depends on whether an account exists. Without Redis nothing is tried.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chassis.errors import RateLimited, Unavailable
from chassis.logs import logger

# KEYS: counts. ARGV: for each its burst, and the ms in which one more attempt is earned. Counts an attempt everywhere and
# answers 0, or counts it nowhere and answers the ms until it may be made.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait, arrivals = 0, {}
for i, key in ipairs(KEYS) do
  local burst, interval = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local arrival = math.max(now, tonumber(redis.call('GET', key) or '0')) + interval
  wait = math.max(wait, arrival - now - burst * interval)
  arrivals[i] = arrival
end
if wait > 0 then
  return math.ceil(wait)
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', arrivals[i]), 'PX', math.ceil(arrivals[i] - now))
end
return 0
"""
# KEYS as above. ARGV: for each the ms that one attempt took.
_GIVE_BACK = """
for i, key in ipairs(KEYS) do
  local arrival = redis.call('GET', key)
  if arrival then
    redis.call('SET', key, string.format('%.0f', arrival - ARGV[i]), 'KEEPTTL')
  end
end
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many attempts at once by one name, and one more every so many seconds."""

    name: str
    burst: int
    seconds: float

    @property
    def interval(self) -> int:
        """In ms."""
        return int(self.seconds * 1000)


class Throttle:
    """Counts attempts."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)

    async def count(self, *allowances: Allowance) -> None:
        """Count one attempt against all of these; RateLimited, and counted nowhere, when one of them is used up."""
        arguments = [number for each in allowances for number in (each.burst, each.interval)]
        try:
            wait = await self._take(keys=_keys(allowances), args=arguments)
        except RedisError as error:
            logger().warning("attempts_not_counted", error=type(error).__name__)
            raise Unavailable from None
        if wait:
            raise RateLimited("Too many attempts. Try again later.", wait / 1000)

    async def give_back(self, *allowances: Allowance) -> None:
        """Forget one attempt that was counted."""
        try:
            await self._give_back(keys=_keys(allowances), args=[each.interval for each in allowances])
        except RedisError as error:
            logger().warning("attempt_not_given_back", error=type(error).__name__)

    @asynccontextmanager
    async def attempt(self, *allowances: Allowance) -> AsyncIterator[None]:
        """Count an attempt, and give it back when the block ends well."""
        await self.count(*allowances)
        yield
        await self.give_back(*allowances)


def network_of(client_address: str) -> str:
    """The client as it is counted: an IPv4 address, or the /64 that one IPv6 client has to itself."""
    if not client_address:
        return "unknown"
    address = ip_address(client_address)
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _keys(allowances: Sequence[Allowance]) -> list[str]:
    return [f"attempts:{each.name}" for each in allowances]
