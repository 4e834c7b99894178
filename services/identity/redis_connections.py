"""How identity is connected to Redis: what takes longer than two seconds is as good as not there."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

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
        # Neither who it is made by is told to the server, nor is it asked for what Redis Enterprise alone has: its user
        # may do what grants and counts take, and not all servers know the two commands.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
