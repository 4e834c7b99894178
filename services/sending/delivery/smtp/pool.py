"""Connections to the relay that stay open."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import unquote, urlsplit

from chassis.secret import Secret
from services.sending.delivery.smtp.connection import Connection, RelayAddress


class ConnectionPool:
    """At most `size` connections to the relay of `smtp://[user:password@]host:port` (`smtps://` for implicit TLS).

    TLS is used wherever the relay offers it and always verified, against the system's authorities unless `tls` says others.
    """

    def __init__(
        self, url: Secret, hostname: str, *, size: int = 8, tls: ssl.SSLContext | None = None
    ) -> None:
        self._relay = _relay_of(url)
        self._hostname = hostname
        self._tls = tls or ssl.create_default_context()
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.close() for connection in self._idle))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of one's own, kept open afterwards. Raises Unavailable when the relay does not answer."""
        async with self._slots:
            connection = await self._idle_or_new()
            try:
                yield connection
            except BaseException:
                # It may be in the middle of a message.
                connection.usable = False
                raise
            finally:
                if connection.usable:
                    self._idle.append(connection)
                else:
                    await connection.close()

    async def _idle_or_new(self) -> Connection:
        while self._idle:
            # A relay closes what idles too long; the connection has noticed then.
            if (connection := self._idle.pop()).usable:
                return connection
        return await Connection.open(self._relay, self._hostname, self._tls)


def _relay_of(url: Secret) -> RelayAddress:
    parts = urlsplit(url.reveal())
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise SystemExit("SMTP_URL must be smtp://[user:password@]host:port")
    return RelayAddress(
        host=parts.hostname,
        port=parts.port or (465 if parts.scheme == "smtps" else 25),
        implicit_tls=parts.scheme == "smtps",
        user=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
    )
