"""A name's addresses, from the DNS, kept as long as the DNS says."""

import asyncio
from collections.abc import Sequence

from dns.asyncresolver import Resolver as DnsResolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, LRUCache, NoAnswer

from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.destinations import is_address

_LIFETIME_SECONDS = 4.0
_MOST_KEPT = 10_000


class Unresolved(Exception):
    """The DNS knows no address, or does not answer; the message says which."""


class Resolver:
    """Asks one name server, as host:port, or those of the system where it is empty. Files of this machine are not asked."""

    def __init__(self, nameserver: str) -> None:
        self._resolver = DnsResolver(configure=not nameserver)
        if nameserver:
            host, _, port = nameserver.rpartition(":")
            self._resolver.nameservers = [host]
            self._resolver.port = int(port)
        self._resolver.lifetime = _LIFETIME_SECONDS
        self._resolver.cache = LRUCache(_MOST_KEPT)

    async def addresses(self, host: str, rules: AddressRules) -> Sequence[str]:
        """Where a host is, IPv4 first. Raises Refused when one of its addresses must not be reached, Unresolved when it has none.

        One forbidden address refuses all: which of several is used could be up to whoever answers for the name.
        """
        found = [host] if is_address(host) else await self._looked_up(host)
        for address in found:
            rules.require_allowed(address)
        return found

    async def _looked_up(self, host: str) -> list[str]:
        answers = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"), return_exceptions=True)
        found = [address for answer in answers if isinstance(answer, list) for address in answer]
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        # Half an answer could hide the half that is forbidden.
        if failures:
            raise failures[0]
        if not found:
            raise Unresolved("The DNS knows no address of the host.")
        return found

    async def _ask(self, host: str, kind: str) -> list[str]:
        try:
            answer = await self._resolver.resolve(f"{host}.", kind)
        except (NXDOMAIN, NoAnswer):
            return []
        except (TimeoutError, DNSException, OSError):
            raise Unresolved("The DNS does not answer for the host.") from None
        return [record.address for record in answer]
