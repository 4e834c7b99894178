"""A name's addresses, from the DNS, kept as long as the DNS says and a minute at most."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from dns.asyncresolver import Resolver as DnsResolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer

from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.destinations import is_address

_LIFETIME_SECONDS = 4.0
_MOST_KEPT = 10_000
# However long a name's owner lets an answer be kept.
_LONGEST_KEPT_SECONDS = 60
# RFC 6761 §6.3, whatever the DNS says of it.
_LOOPBACK = ["127.0.0.1", "::1"]


class Unresolved(Exception):
    """The DNS knows no address, or does not answer; the message says which."""


class _Found(NamedTuple):
    addresses: list[str]
    kept_seconds: float


class Resolver:
    """Asks one name server, as host:port, or those of the system where it is empty. Files of this machine are not asked."""

    def __init__(self, nameserver: str) -> None:
        self._resolver = DnsResolver(configure=not nameserver)
        if nameserver:
            host, _, port = nameserver.rpartition(":")
            self._resolver.nameservers = [host.strip("[]")]
            self._resolver.port = int(port)
        self._resolver.lifetime = _LIFETIME_SECONDS
        # Until when they are kept, by name, the oldest first.
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, rules: AddressRules) -> Sequence[str]:
        """Where a host is, IPv4 first. Raises Refused when one of its addresses must not be reached, Unresolved when it has none.

        One forbidden address refuses all: which of several is used could be up to whoever answers for the name. What the DNS
        says is kept for as long as it says, a minute at most.
        """
        found = [host] if is_address(host) else await self._known_or_asked(host)
        for address in found:
            rules.require_allowed(address)
        return found

    async def _known_or_asked(self, host: str) -> list[str]:
        if host == "localhost" or host.endswith(".localhost"):
            return _LOOPBACK
        until, addresses = self._known.get(host, (0.0, []))
        return addresses if monotonic() < until else await self._asked_together(host)

    async def _asked_together(self, host: str) -> list[str]:
        """One look-up for all who want to know at the same moment; whoever gives up leaves it to the others."""
        look_up = self._under_way.get(host)
        if look_up is None:
            look_up = self._under_way[host] = asyncio.create_task(self._looked_up(host))
            look_up.add_done_callback(lambda done: self._forget_look_up(host, done))
        return await asyncio.shield(look_up)

    def _forget_look_up(self, host: str, look_up: asyncio.Task[list[str]]) -> None:
        del self._under_way[host]
        # Heard, even if all who asked have left.
        if not look_up.cancelled():
            look_up.exception()

    async def _looked_up(self, host: str) -> list[str]:
        # Half an answer could hide the half that is forbidden: both, or none.
        first, second = await asyncio.gather(
            self._ask(host, "A"), self._ask(host, "AAAA"), return_exceptions=True
        )
        if isinstance(first, BaseException):
            raise first
        if isinstance(second, BaseException):
            raise second
        found = first.addresses + second.addresses
        if not found:
            raise Unresolved("The DNS knows no address of the host.")
        self._keep(host, found, min(first.kept_seconds, second.kept_seconds))
        return found

    def _keep(self, host: str, addresses: list[str], seconds: float) -> None:
        self._known[host] = (monotonic() + seconds, addresses)
        self._known.move_to_end(host)
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)

    async def _ask(self, host: str, kind: str) -> _Found:
        try:
            answer = await self._resolver.resolve(f"{host}.", kind)
        except (NXDOMAIN, NoAnswer):
            return _Found([], _LONGEST_KEPT_SECONDS)
        except (TimeoutError, DNSException, OSError):
            raise Unresolved("The DNS does not answer for the host.") from None
        kept_seconds = min(answer.chaining_result.minimum_ttl, _LONGEST_KEPT_SECONDS)
        return _Found([record.address for record in answer], kept_seconds)
