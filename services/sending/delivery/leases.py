"""The lease of a delivery process: what it claims carries the lease's token, and is its own as long as the lease lives.

A lease that runs out, since the database did not answer, ends what its holder begins and nothing else: it may be renewed until
somebody declares its holder dead. Whoever has done that settles what carries the token, and the token never comes back.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Self
from uuid import UUID, uuid4

from prometheus_client import Gauge
from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.logs import logger
from services.sending.delivery.journal import Journal
from services.sending.restoration import IS_HELD

LEASE_HELD = Gauge("flownurture_delivery_lease_held", "Whether this process may claim messages: 1 or 0.")

_DURATION = timedelta(seconds=15)
_RENEWED_EVERY_SECONDS = 3.0
# Before the lease ends for the database it ends for its holder.
_MARGIN_SECONDS = 3.0

_TAKE = text(f"""
    INSERT INTO sending.delivery_leases (token, expires_at)
    SELECT :token, clock_timestamp() + :duration WHERE NOT {IS_HELD}
""")
_RENEW = text("""
    UPDATE sending.delivery_leases SET expires_at = clock_timestamp() + :duration WHERE token = :token
""")
_GIVE_UP = text("DELETE FROM sending.delivery_leases WHERE token = :token")
_LEASED = text("SELECT organization_id, id FROM sending.batches WHERE lease_token = :token")

# For the scheduler's role: whose batches are in the hands of nobody, by their token. Who is started again on the same machine has
# the time to say what its predecessor had begun; whoever is declared dead in one round is settled in the next.
TOKENS_OF_THE_DEAD = text("""
    WITH declared_dead AS (
        DELETE FROM sending.delivery_leases WHERE expires_at < clock_timestamp() - interval '105 seconds'
    )
    SELECT DISTINCT organization_id, lease_token AS id FROM sending.batches AS batch
    WHERE lease_token IS NOT NULL AND NOT EXISTS (
        SELECT FROM sending.delivery_leases AS lease WHERE lease.token = batch.lease_token
    )
    LIMIT 64
""")


class Lease:
    """Held from entering to leaving. The journal is told each token before anything is claimed with it."""

    def __init__(self, scheduler: RoleDatabase, journal: Journal) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._token = uuid4()
        self._good_until = 0.0
        self._in_hand: set[UUID] = set()

    async def __aenter__(self) -> Self:
        await self._take()
        LEASE_HELD.set_function(lambda: self.token is not None)
        self._renewals = asyncio.create_task(self._renew_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._renewals.cancel()
        await asyncio.gather(self._renewals, return_exceptions=True)
        await declare_dead(self._scheduler, self._token)

    @property
    def token(self) -> UUID | None:
        """The token to claim with; None when the lease has run out, or sending is held."""
        return self._token if monotonic() < self._good_until else None

    def covers(self, token: UUID) -> bool:
        """Whether what was claimed with this token is still ours."""
        return self.token == token

    @contextmanager
    def in_hand(self, batch_ids: Collection[UUID]) -> Iterator[Collection[UUID]]:
        """Have batches to oneself in this process, before they are claimed and until they are given back: those that nobody else has."""
        ours = set(batch_ids) - self._in_hand
        self._in_hand |= ours
        try:
            yield ours
        finally:
            self._in_hand -= ours

    async def renew(self) -> None:
        """Renew it, or take a new one when this process was declared dead."""
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
            taken = await connection.execute(_TAKE, {"token": token, "duration": _DURATION})
        if taken.rowcount != 1:
            # It is asked for again when it would have been renewed.
            logger().warning("sending_is_held")
            return
        self._journal.claim_with(token)
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


async def leased_with(scheduler: RoleDatabase, token: UUID) -> list[tuple[UUID, UUID]]:
    """The batches that carry a token, each after its organization."""
    async with scheduler.transaction() as connection:
        return [(row.organization_id, row.id) for row in await connection.execute(_LEASED, {"token": token})]


async def declare_dead(scheduler: RoleDatabase, token: UUID) -> None:
    """Let the token never be renewed again; what still carries it is settled by whoever notices."""
    async with scheduler.transaction() as connection:
        await connection.execute(_GIVE_UP, {"token": token})
