"""Short visits to a host of somebody else's: one GET over TLS that is verified, bounded in time and size, and led nowhere else."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from chassis.errors import Unauthenticated, Unavailable

_SECONDS = 5.0
_MOST_BYTES = 64 * 1024
_AT_ONCE = 4

# Where a host is: an address and a port.
Dial = Callable[[str], tuple[str, int]]


def _at_https(host: str) -> tuple[str, int]:
    return host, 443


class Visits:
    """A few at a time, each on a connection of its own. `tls` is what is trusted, `dial` where hosts are: tests have a host of theirs."""

    def __init__(self, tls: ssl.SSLContext | None = None, dial: Dial = _at_https) -> None:
        self._tls = tls or ssl.create_default_context()
        self._dial = dial
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def get(self, url: str) -> bytes:
        """The body of an https URL. Raises Unauthenticated where the host has nothing there, Unavailable where it does not answer well."""
        try:
            async with asyncio.timeout(2 * _SECONDS), self._turns:
                status, body = await asyncio.to_thread(self._get, url)
        except (OSError, HTTPException, TimeoutError) as failure:
            raise Unavailable(f"A provider's own host does not answer: {type(failure).__name__}.") from None
        if 400 <= status < 500:
            raise Unauthenticated
        if status != 200 or len(body) > _MOST_BYTES:
            raise Unavailable(f"A provider's own host answers {status}.")
        return body

    def _get(self, url: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = _Connection(parts.hostname or "", self._dial, self._tls)
        try:
            connection.request("GET", parts._replace(scheme="", netloc="").geturl())
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES + 1)
        finally:
            connection.close()


class _Connection(HTTPSConnection):
    def __init__(self, host: str, dial: Dial, tls: ssl.SSLContext) -> None:
        super().__init__(host, timeout=_SECONDS)
        self._dial = dial
        self._context = tls

    def connect(self) -> None:
        """Dial where the host is, and have it prove that it is the host."""
        dialled = socket.create_connection(self._dial(self.host), _SECONDS)
        self.sock = self._context.wrap_socket(dialled, server_hostname=self.host)
