"""Which way mail goes out: by its organization's own addresses if it has any, and by no other then; else by the shared relay.

Read from the organization's own rows, as its own role, in the transaction that claims: there is no row of anybody else's to find. An
organization's address that does not answer, or has handed over enough for today, is never made up for by the shared one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database, TenantSession
from chassis.vault.vault import Vault
from services.sending import warm_up
from services.sending.delivery.claims import Claimed
from services.sending.delivery.relays import Relay, Relays
from services.sending.relay_address import RelayAddress

# Those that are warm last: they take what the others cannot.
_ADDRESSES = text("""
    SELECT address.id, address.sealed_relay_url, address.source_address, address.warm_at
    FROM ip_pools AS pool
    LEFT JOIN ip_pool_addresses AS address
      ON address.organization_id = pool.organization_id AND address.ip_pool_id = pool.id
    ORDER BY address.warm_at IS NOT NULL, address.id
""")


@dataclass(slots=True)
class Share:
    """What goes out through one relay. `warming` is the address whose volume of today it was taken from."""

    relay: Relay
    messages: Sequence[Claimed]
    warming: UUID | None = None
    # How many were handed over, whatever was answered.
    used: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """How claimed messages go out, and how long the rest waits, if there is a rest."""

    shares: Sequence[Share]
    wait: timedelta | None = None

    @property
    def messages(self) -> list[Claimed]:
        """Those that go out now."""
        return [message for share in self.shares for message in share.messages]


@dataclass(slots=True)
class _Way:
    relay: Relay
    warming: UUID | None
    messages: list[Claimed] = field(default_factory=list)
    exhausted: bool = False


class Routes:
    """Finds ways out."""

    def __init__(self, database: Database, relays: Relays, vault: Vault) -> None:
        self._database = database
        self._relays = relays
        self._vault = vault

    async def of(self, session: TenantSession, claimed: Sequence[Claimed]) -> Route:
        """The way of messages of the session's organization."""
        if session.context.organization == PLATFORM:
            ways: list[_Way] = [_Way(self._relays.system, None)]
        else:
            rows = (await session.execute(_ADDRESSES)).all()
            own = [await self._way(session, row) for row in rows if row.id is not None]
            ways = own if rows else [_Way(self._relays.shared, None)]
        up = [way for way in ways if not way.relay.pool.down_for]
        if not up:
            return Route((), timedelta(seconds=min((way.relay.pool.down_for for way in ways), default=60.0)))
        left = await _spread(session, up, claimed)
        shares = [Share(way.relay, way.messages, way.warming) for way in up if way.messages]
        return Route(shares, warm_up.until_tomorrow(datetime.now(UTC)) if left else None)

    async def give_back(self, context: RequestContext, share: Share) -> None:
        """Let what was not handed over after all not count in today's volume."""
        unused = len(share.messages) - share.used
        if share.warming is not None and unused:
            async with self._database.tenant_transaction(context) as session:
                await warm_up.give_back(session, share.warming, unused)

    async def _way(self, session: TenantSession, row: Row[Any]) -> _Way:
        relay = self._relays.known(row.id)
        if relay is None:
            relay = self._relays.dedicated(row.id, await self._address(session, row))
        return _Way(relay, row.id if row.warm_at is None else None)

    async def _address(self, session: TenantSession, row: Row[Any]) -> RelayAddress:
        if row.sealed_relay_url is None:
            return self._relays.shared_address.bound_to(row.source_address)
        keyring = await self._vault.keyring_to_open(session)
        url = keyring.open(
            bytes(row.sealed_relay_url), table="ip_pool_addresses", row=row.id, column="sealed_relay_url"
        )
        return RelayAddress.of(url, row.source_address)


async def _spread(session: TenantSession, ways: Sequence[_Way], claimed: Sequence[Claimed]) -> int:
    """Give each way its part, as far as its volume goes; answers how many messages are left."""
    left = deque(claimed)
    while left and (open_ways := [way for way in ways if not way.exhausted]):
        for number, way in enumerate(open_ways):
            part = -(-len(left) // (len(open_ways) - number))
            taken = await warm_up.take(session, way.warming, part) if way.warming is not None else part
            way.exhausted = taken < part
            way.messages.extend(left.popleft() for _ in range(taken))
    return len(left)
