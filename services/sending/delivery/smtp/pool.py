"""Connections to one relay that stay open, and whose turn it is to have one.

How many there are is found by itself (`concurrency.py`); who is next is decided in `turns.py`. No track ever has all of them: a
provider that takes its time keeps at least one connection free for the mail to others.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import Self

from chassis.errors import Unavailable
from services.sending.delivery.smtp.concurrency import Concurrency
from services.sending.delivery.smtp.connection import Connection
from services.sending.delivery.turns import Claimant, Turns
from services.sending.relay_address import RelayAddress

# After so many messages a connection goes to who waits for one.
_A_TURN = 20
# What one track may have of all connections.
_A_TRACKS_SHARE = 0.75
# How long a relay that does not answer is left alone.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


@cache
def _authorities() -> ssl.SSLContext:
    """Those that the system trusts; read once, since they are hundreds, and relays are as many."""
    return ssl.create_default_context()


@dataclass(eq=False, slots=True)
class _Waiter:
    track: str
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class NoAnswer(Unavailable):
    """The relay takes no connection; it is asked again after so many seconds."""

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.wait = timedelta(seconds=seconds)


class ConnectionPool:
    """Connections to a relay.

    TLS is used wherever the relay offers it and always verified, against the system's authorities unless `tls` says others.
    """

    def __init__(self, relay: RelayAddress, hostname: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.concurrency = Concurrency()
        self._relay = relay
        self._hostname = hostname
        self._tls = tls or _authorities()
        self._idle: list[Connection] = []
        self._in_use: Counter[str] = Counter()
        self._turns: Turns[_Waiter] = Turns()
        self._giving_way: set[Turn] = set()
        self._pause = 0.0
        self._down_until = 0.0
        # When the certificate that the relay showed last runs out, in seconds since 1970.
        self.certificate_ends: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what nobody uses."""
        await asyncio.gather(*(connection.close() for connection in self._idle))

    @property
    def in_use(self) -> int:
        """How many connections somebody has now."""
        return self._in_use.total()

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._turns)

    @property
    def waiting_urgently(self) -> int:
        """How many of them have single messages."""
        return self._turns.urgent

    @property
    def down_for(self) -> float:
        """For how many seconds the relay is not asked again, since it did not answer; 0 while it does."""
        return max(0.0, self._down_until - monotonic())

    @asynccontextmanager
    async def turn(self, claimant: Claimant, track: str) -> AsyncIterator["Turn"]:
        """A connection of one's own, for messages of this track. Raises NoAnswer when the relay gives none."""
        turn = Turn(self, await self._connection(claimant, track), claimant)
        try:
            yield turn
        except BaseException:
            # It may be in the middle of a message.
            turn.connection.usable = False
            raise
        finally:
            self._giving_way.discard(turn)
            await self._put_away(track, turn.connection)

    def gives_way(self, turn: "Turn") -> bool:
        """Whether a turn ends for somebody who waits: at once for a single message, a turn for each; else after its share."""
        if not turn.claimant.urgent and self._turns.urgent > len(self._giving_way):
            self._giving_way.add(turn)
            return True
        return turn.begun >= _A_TURN and len(self._turns) > 0

    def overloaded(self) -> None:
        """The relay says that it has too much to do."""
        self.concurrency.refused(monotonic(), connected=self.in_use)

    async def _granted(self, claimant: Claimant, track: str) -> None:
        waiter = _Waiter(track)
        self._turns.join(claimant, waiter)
        self._grant()
        if not waiter.granted.done():
            self.concurrency.wanted()
        try:
            await waiter.granted
        except BaseException:
            self._turns.leave(claimant, waiter)
            if not waiter.granted.cancelled():
                self._leave(track)
            raise

    def _grant(self) -> None:
        while self.in_use < self.concurrency.limit:
            waiter = self._turns.next(self._may_have_one)
            if waiter is None:
                return
            self._in_use[waiter.track] += 1
            waiter.granted.set_result(None)

    def _may_have_one(self, waiter: _Waiter) -> bool:
        return self._in_use[waiter.track] < self._most_of_a_track and not waiter.granted.done()

    @property
    def _most_of_a_track(self) -> int:
        return max(1, int(self.concurrency.limit * _A_TRACKS_SHARE))

    async def _connection(self, claimant: Claimant, track: str) -> Connection:
        while True:
            await self._granted(claimant, track)
            try:
                return await self._idle_or_new()
            except NoAnswer:
                self._leave(track)
                # Others have one, or are still being answered: there may be one to have, later.
                if self.down_for or not self.in_use:
                    raise
            except BaseException:
                self._leave(track)
                raise

    async def _put_away(self, track: str, connection: Connection) -> None:
        kept = connection.usable and self.in_use + len(self._idle) <= self.concurrency.limit
        if kept:
            self._idle.append(connection)
        self._leave(track)
        if not kept:
            await connection.close()

    def _leave(self, track: str) -> None:
        self._in_use[track] -= 1
        if not self._in_use[track]:
            del self._in_use[track]
        self._grant()

    async def _idle_or_new(self) -> Connection:
        while self._idle:
            # A relay closes what idles too long; the connection has noticed then.
            if (connection := self._idle.pop()).usable:
                return connection
        if self.down_for:
            raise NoAnswer(self.down_for, "a moment ago it did not")
        try:
            connection = await Connection.open(self._relay, self._hostname, self._tls)
        except Unavailable as failure:
            self._not_opened()
            raise NoAnswer(self.down_for, failure.message) from failure
        self._pause = 0.0
        self.certificate_ends = connection.certificate_ends
        return connection

    def _not_opened(self) -> None:
        others = self.in_use - 1
        self.concurrency.refused(monotonic(), connected=others)
        if not others:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            self._down_until = monotonic() + self._pause


class Turn:
    """The use of a connection, until somebody else is to have it."""

    def __init__(self, pool: ConnectionPool, connection: Connection, claimant: Claimant) -> None:
        self.connection = connection
        self.claimant = claimant
        self.begun = 0
        self._pool = pool
        self._over = False

    def begins_another(self) -> bool:
        """Whether another message may begin in it."""
        self._over = self._over or self._pool.gives_way(self)
        if not self._over:
            self.begun += 1
        return not self._over
