"""The lease of a delivery process: what it claims carries the lease's token, and is its own as long as the lease lives.

A lease that has run out never comes back: its process takes a new token, and whoever notices settles what carries the
old one. So what a dead process had begun is never handed over as if nobody had.
"""

import asyncio
from datetime import timedelta
from time import monotonic
from typing import Self
from uuid import UUID, uuid4

from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.logs import logger

_DURATION = timedelta(seconds=15)
_RENEWED_EVERY_SECONDS = 3.0
# Before the lease ends for the database it ends for its holder.
_MARGIN_SECONDS = 3.0

_TAKE = text(
    "INSERT INTO sending.delivery_leases (token, expires_at) VALUES (:token, clock_timestamp() + :duration)"
)
_RENEW = text("""
    UPDATE sending.delivery_leases SET expires_at = clock_timestamp() + :duration
    WHERE token = :token AND expires_at > clock_timestamp()
""")
_GIVE_UP = text("DELETE FROM sending.delivery_leases WHERE token = :token")

# For the scheduler's role: whose messages are in the hands of nobody. Messages are settled by their token.
TOKENS_OF_THE_DEAD = text("""
    SELECT DISTINCT organization_id, lease_token AS id FROM sending.messages AS message
    WHERE lease_token IS NOT NULL AND NOT EXISTS (
        SELECT FROM sending.delivery_leases AS lease
        WHERE lease.token = message.lease_token AND lease.expires_at > clock_timestamp()
    )
    LIMIT 64
""")


class Lease:
    """Held from entering to leaving, unless the database does not answer for too long."""

    def __init__(self, scheduler: RoleDatabase) -> None:
        self._scheduler = scheduler
        self._token = uuid4()
        self._good_until = 0.0

    async def __aenter__(self) -> Self:
        await self._take()
        self._renewals = asyncio.create_task(self._renew_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._renewals.cancel()
        await asyncio.gather(self._renewals, return_exceptions=True)
        async with self._scheduler.transaction() as connection:
            await connection.execute(_GIVE_UP, {"token": self._token})

    @property
    def token(self) -> UUID | None:
        """The token to claim with; None when the lease has run out."""
        return self._token if monotonic() < self._good_until else None

    def covers(self, token: UUID) -> bool:
        """Whether what was claimed with this token is still ours."""
        return self.token == token

    async def renew(self) -> None:
        """Renew it, or take a new one if it has run out."""
        begun = monotonic()
        async with self._scheduler.transaction() as connection:
            renewed = await connection.execute(_RENEW, {"token": self._token, "duration": _DURATION})
        if renewed.rowcount == 1:
            self._good_until = begun + _DURATION.total_seconds() - _MARGIN_SECONDS
        else:
            logger().warning("lease_lost", token=str(self._token))
            await self._take()

    async def _take(self) -> None:
        begun = monotonic()
        self._good_until = 0.0
        token = uuid4()
        async with self._scheduler.transaction() as connection:
            await connection.execute(_TAKE, {"token": token, "duration": _DURATION})
        self._token = token
        self._good_until = begun + _DURATION.total_seconds() - _MARGIN_SECONDS

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(_RENEWED_EVERY_SECONDS)
            try:
                await self.renew()
            except Exception:
                # Until it succeeds the lease runs out by itself, and nothing is claimed without one.
                logger().warning("lease_not_renewed", exc_info=True)
