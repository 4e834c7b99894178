"""The DNS as a sender's records are looked up in it."""

from typing import Any

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer

from chassis.errors import Unavailable

_LIFETIME_SECONDS = 5.0


class DnsUnavailable(Unavailable):
    """The DNS gave no answer, which says nothing of the records."""


class Dns:
    """Asks one resolver, as host:port, or those of the system where it is empty."""

    def __init__(self, resolver: str) -> None:
        self._resolver = Resolver(configure=not resolver)
        if resolver:
            host, _, port = resolver.rpartition(":")
            self._resolver.nameservers = [host]
            self._resolver.port = int(port)
        self._resolver.lifetime = _LIFETIME_SECONDS

    async def txt(self, name: str) -> list[str]:
        """The texts at a name, none when there are none. Raises DnsUnavailable."""
        answer = await self._ask(name, "TXT")
        return [b"".join(record.strings).decode(errors="replace") for record in answer]

    async def cname(self, name: str) -> str | None:
        """Where a name leads, in small letters and without a final dot. Raises DnsUnavailable."""
        answer = await self._ask(name, "CNAME")
        return next((record.target.to_text(omit_final_dot=True).lower() for record in answer), None)

    async def _ask(self, name: str, kind: str) -> list[Any]:
        try:
            return list(await self._resolver.resolve(f"{name}.", kind))
        except (NXDOMAIN, NoAnswer):
            return []
        except (TimeoutError, DNSException, OSError) as error:
            raise DnsUnavailable(f"The DNS does not answer for {name}.") from error
