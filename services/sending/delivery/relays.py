"""The relays that this process hands mail to: the shared one, the one of the platform's own mail, and organizations' own."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Self
from uuid import UUID

from services.sending.delivery.carriers import carrier_of
from services.sending.delivery.lanes import Lanes
from services.sending.delivery.smtp.pool import ConnectionPool
from services.sending.relay_address import RelayAddress

SHARED = "shared"
SYSTEM = "system"
# Of those longest unused the connections are closed, and what was found out about them is forgotten.
_MOST_DEDICATED = 256


class Relay:
    """A relay as one address of ours reaches it: its connections, its lanes, and what carries tokens to it.

    `name` is what figures call it.
    """

    def __init__(self, name: str, address: RelayAddress, hostname: str) -> None:
        self.name = name
        self.pool = ConnectionPool(address, hostname)
        self.carrier = carrier_of(address.provider)
        self.lanes = Lanes()


class Relays:
    """Opened as they are needed, and closed when it is left."""

    def __init__(self, *, shared: RelayAddress, system: RelayAddress, hostname: str) -> None:
        self.shared = Relay(SHARED, shared, hostname)
        self.system = Relay(SYSTEM, system, hostname)
        self.shared_address = shared
        self._hostname = hostname
        self._dedicated: OrderedDict[UUID, Relay] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._closing, *(relay.pool.close() for relay in self))

    def __iter__(self) -> Iterator[Relay]:
        yield self.shared
        yield self.system
        yield from self._dedicated.values()

    def known(self, address_id: UUID) -> Relay | None:
        """The relay of a dedicated address that was used of late."""
        relay = self._dedicated.get(address_id)
        if relay is not None:
            self._dedicated.move_to_end(address_id)
        return relay

    def dedicated(self, address_id: UUID, address: RelayAddress) -> Relay:
        """The relay of a dedicated address, which nobody else has."""
        relay = self._dedicated[address_id] = Relay(str(address_id), address, self._hostname)
        if len(self._dedicated) > _MOST_DEDICATED:
            _, oldest = self._dedicated.popitem(last=False)
            closing = asyncio.create_task(oldest.pool.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return relay
