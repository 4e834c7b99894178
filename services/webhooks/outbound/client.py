"""Posts to one destination over connections that are kept, each to an address that was looked at."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence

from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.answers import Answer, Failure, PostFailed, retry_after
from services.webhooks.outbound.connection import Connection, ConnectionBroken, Received
from services.webhooks.outbound.destinations import Destination, DestinationRules
from services.webhooks.outbound.resolver import Resolver, Unresolved

_CONNECT_SECONDS = 5.0
_ATTEMPT_SECONDS = 15.0
# What others close after a while is not written to just then; names move.
_IDLE_SECONDS = 25.0
_AGE_SECONDS = 60.0


class Client:
    """What all posts of a process share: rules, resolver, TLS. `trusted` is a file of authorities beside those of the system."""

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
        self._idle: deque[Connection] = deque()
        self._begin = f"POST {destination.target} HTTP/1.1\r\nHost: {destination.authority}\r\n"

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Post once, within 15 seconds. Raises PostFailed. Nothing is ever sent twice by itself."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        connection: Connection | None = None
        failure: tuple[Failure, str]
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                connection = self._kept() or await self._connected()
                received = await connection.exchange(self._request(headers, body))
            return self._answered(connection, received, loop.time() - begun)
        except TimeoutError:
            failure = Failure.TIMEOUT, f"There was no answer within {_ATTEMPT_SECONDS:.0f} seconds."
        except Refused as refusal:
            failure = Failure.REFUSED, str(refusal)
        except Unresolved as missing:
            failure = Failure.UNRESOLVED, str(missing)
        except ConnectionBroken as broken:
            failure = Failure.BROKEN, str(broken)
        except ssl.SSLError as error:
            failure = Failure.TLS, _in_words(error)
        except OSError as error:
            failure = Failure.UNREACHABLE, error.strerror or "It cannot be reached."
        if connection is not None:
            connection.close()
        address = connection.address if connection else ""
        raise PostFailed(*failure, address=address, duration=loop.time() - begun)

    def close(self) -> None:
        """Close those that nobody uses; those in use close when they are done."""
        while self._idle:
            self._idle.popleft().close()

    def _kept(self) -> Connection | None:
        """One that is open, young enough, and leads where one may go still."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if (
                connection.is_open
                and now - connection.used_at < _IDLE_SECONDS
                and now - connection.opened_at < _AGE_SECONDS
            ):
                self._client.rules.addresses.require_allowed(connection.address)
                return connection
            connection.close()
        return None

    async def _connected(self) -> Connection:
        """A new one, to an address that was looked at: the address is connected to, not the name."""
        destination, rules = self._destination, self._client.rules.addresses
        addresses = await self._client.resolver.addresses(destination.host, rules)
        last: OSError = OSError(0, "It cannot be reached.")
        for address in addresses:
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
        self._client.rules.addresses.require_allowed(address)
        destination = self._destination
        tls = self._client.tls if destination.is_tls else None
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, address, destination.port, ssl=tls, server_hostname=destination.host if tls else None
        )
        connection.address = address
        return connection

    def _request(self, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        breaks = len(headers)
        if lines.count("\r") != breaks or lines.count("\n") != breaks or "\0" in lines:
            raise Refused("A header holds a line break.")
        return f"{self._begin}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    def _answered(self, connection: Connection, received: Received, duration: float) -> Answer:
        if connection.is_open:
            self._idle.append(connection)
        else:
            connection.close()
        return Answer(
            status=received.status,
            body=bytes(received.body),
            retry_after=retry_after(received.headers),
            address=connection.address,
            duration=duration,
        )


def _in_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Its certificate is not accepted: {error.verify_message}."
    return f"TLS failed: {error.reason or 'the connection was closed'}."
