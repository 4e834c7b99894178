"""How identity is connected to Redis: what takes longer than two seconds is as good as not there."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chassis.secret import Secret

_TIMEOUT = 2.0  # seconds


def redis_at(url: Secret) -> Redis:
    """Connections to this Redis, made when they are needed. An async context manager."""
    return Redis.from_url(
        url.reveal(),
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        # At once and no more than once: for a pooled connection that Redis has closed meanwhile.
        retry=Retry(NoBackoff(), retries=1),
    )
