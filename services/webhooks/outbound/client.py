"""Posts to one destination over connections that are kept, each to an address that was looked at."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from time import monotonic

from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.answers import Answer, Failure, PostFailed
from services.webhooks.outbound.connection import Connection
from services.webhooks.outbound.destinations import Destination, DestinationRules
from services.webhooks.outbound.requests import Posts
from services.webhooks.outbound.resolver import Resolver, Unresolved
from services.webhooks.outbound.responses import Broken, Response

__all__ = ["Answer", "Client", "Failure", "Pool", "PostFailed"]

_CONNECT_SECONDS = 5.0
_ATTEMPT_SECONDS = 15.0
# A name may have many addresses, of which others could be somebody's whom we are to be sent to.
_MOST_TRIED = 3
# What others close after a while is not written to just then; names move.
_IDLE_SECONDS = 25.0
_AGE_SECONDS = 60.0


class Client:
    """What all posts of a process share: rules, resolver, TLS. `trusted` is a file of authorities in place of the system's."""

    def __init__(self, rules: DestinationRules, resolver: Resolver, trusted: str | None = None) -> None:
        self.rules = rules
        self.resolver = resolver
        self.tls = ssl.create_default_context(cafile=trusted)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.tls.set_alpn_protocols(["http/1.1"])

    def pool(self, destination: Destination) -> "Pool":
        """Connections to a destination, none yet."""
        return Pool(self, destination)


class Pool:
    """The connections to one destination."""

    def __init__(self, client: Client, destination: Destination) -> None:
        self._client = client
        self._destination = destination
        self._loop = asyncio.get_running_loop()
        self._posts = Posts(destination)
        # As it is asked for, which may be otherwise than it was written.
        self.url = f"{destination.scheme}://{destination.authority}{destination.target}"
        self._idle: deque[Connection] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Post once, within 15 seconds. Raises PostFailed. Nothing is ever sent twice by itself."""
        begun, deadline = monotonic(), self._loop.time() + _ATTEMPT_SECONDS
        tried: list[str] = []
        failure: tuple[Failure, str]
        try:
            request = self._posts.with_body(headers, body)
            connection = self._kept(tried) or await self._connected(tried, deadline)
            response = await connection.exchange(request, deadline)
            return self._answered(connection, response, monotonic() - begun)
        except TimeoutError:
            failure = Failure.TIMEOUT, f"There was no answer within {_ATTEMPT_SECONDS:.0f} seconds."
        except Refused as refusal:
            failure = Failure.REFUSED, str(refusal)
        except Unresolved as missing:
            failure = Failure.UNRESOLVED, str(missing)
        except Broken as broken:
            failure = Failure.BROKEN, str(broken)
        except ssl.SSLError as error:
            failure = Failure.TLS, _in_words(error)
        except OSError as error:
            failure = Failure.UNREACHABLE, error.strerror or "It cannot be reached."
        raise PostFailed(*failure, address=tried[-1] if tried else "", duration=monotonic() - begun)

    def close(self) -> None:
        """Close those that nobody uses; those in use close when they are done."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.popleft().close()

    def _kept(self, tried: list[str]) -> Connection | None:
        """One that is open, young enough, and leads where one may go still."""
        now = monotonic()
        while self._idle:
            connection = self._idle.pop()
            if _is_good(connection, now) and self._is_allowed(connection.address):
                tried.append(connection.address)
                return connection
            connection.close()
        return None

    def _is_allowed(self, address: str) -> bool:
        try:
            self._client.rules.addresses.require_allowed(address)
        except Refused:
            return False
        return True

    async def _connected(self, tried: list[str], deadline: float) -> Connection:
        """A new one, to an address that was looked at: the address is connected to, not the name."""
        async with asyncio.timeout_at(deadline):
            destination, rules = self._destination, self._client.rules.addresses
            return await self._first_open(
                await self._client.resolver.addresses(destination.host, rules), tried
            )

    async def _first_open(self, addresses: Sequence[str], tried: list[str]) -> Connection:
        last: OSError = OSError(0, "It cannot be reached.")
        for address in addresses[:_MOST_TRIED]:
            tried.append(address)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await self._open(address)
            except TimeoutError:
                last = OSError(0, f"It did not accept a connection within {_CONNECT_SECONDS:.0f} seconds.")
            except ssl.SSLError:
                raise
            except OSError as error:
                last = error
        raise last

    async def _open(self, address: str) -> Connection:
        destination = self._destination
        tls = self._client.tls if destination.is_tls else None
        _, connection = await self._loop.create_connection(
            lambda: Connection(address),
            address,
            destination.port,
            ssl=tls,
            server_hostname=destination.host if tls else None,
        )
        return connection

    def _answered(self, connection: Connection, response: Response, duration: float) -> Answer:
        if connection.is_open:
            self._keep(connection)
        return Answer(response.status, response.body, response.retry_after, connection.address, duration)

    def _keep(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_IDLE_SECONDS, self._close_old)

    def _close_old(self) -> None:
        """Whoever is not posted to for a while has no connection of ours."""
        self._sweep = None
        now = monotonic()
        kept, self._idle = self._idle, deque()
        for connection in kept:
            if _is_good(connection, now):
                self._keep(connection)
            else:
                connection.close()


def _is_good(connection: Connection, now: float) -> bool:
    is_young = now - connection.used_at < _IDLE_SECONDS and now - connection.opened_at < _AGE_SECONDS
    return connection.is_open and is_young


def _in_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Its certificate is not accepted: {error.verify_message}."
    return f"TLS failed: {error.reason or 'the connection was closed'}."
