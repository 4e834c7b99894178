"""Handing mail to the relay by SMTP (RFC 5321), on connections that stay open."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from chassis.errors import Unavailable
from chassis.secret import Secret
from services.sending.delivery.replies import Reply

_CONNECT_SECONDS = 15.0
_ANSWER_SECONDS = 60.0
# The service is going away, whatever the message (RFC 5321 §3.8).
_CLOSING = 421


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way: `content` in CRLF lines, not dot-stuffed."""

    sender: str
    recipient: str
    content: bytes
    # A mailbox in it has a form beyond ASCII only (RFC 6531).
    internationalized: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The relay's reply to a message. `to_recipient` is false when it refused our own address."""

    reply: Reply
    to_recipient: bool


class NotBegun(Exception):
    """The connection broke before the message was sent: nobody has got it."""


class InDoubt(Exception):
    """The connection broke after the message's DATA and before its reply: nobody knows."""


class Connection:
    """One connection to the relay."""

    def __init__(self, client: SMTP) -> None:
        self._client = client
        self.answers = 0
        self.usable = True

    async def still_open(self) -> bool:
        """Whether it can be used again: a relay closes what idles too long. Counts its answers anew."""
        try:
            await self._client.noop(timeout=5)
        except (SMTPException, OSError, TimeoutError):
            self.usable = False
        self.answers = 0
        return self.usable

    async def send(self, envelope: Envelope) -> Answer:
        """Hand a message over. Raises NotBegun or InDoubt when the connection breaks; it is not usable then."""
        begun = False
        try:
            answer = await self._offer(envelope)
            if answer is None:
                begun = True
                answer = await self._transmit(envelope)
        except (SMTPException, OSError, TimeoutError) as error:
            self.usable = False
            self._client.close()
            raise (InDoubt if begun else NotBegun)(str(error) or type(error).__name__) from error
        self.answers += 1
        return answer

    async def close(self) -> None:
        """Say goodbye if the relay listens, and close."""
        try:
            if self.usable:
                await self._client.quit(timeout=2)
        except (SMTPException, OSError, TimeoutError):
            pass
        finally:
            self.usable = False
            self._client.close()

    async def _offer(self, envelope: Envelope) -> Answer | None:
        options, encoding = [], "ascii"
        if envelope.internationalized:
            if not self._client.supports_extension("smtputf8"):
                return Answer(Reply(553, "5.6.7 the relay takes no internationalized addresses"), False)
            options, encoding = ["SMTPUTF8"], "utf-8"
        try:
            await self._client.mail(envelope.sender, options=options, encoding=encoding)
        except SMTPResponseException as refused:
            return await self._refused(refused, to_recipient=False)
        try:
            await self._client.rcpt(envelope.recipient, encoding=encoding)
        except SMTPResponseException as refused:
            return await self._refused(refused, to_recipient=True)
        return None

    async def _transmit(self, envelope: Envelope) -> Answer:
        try:
            response = await self._client.data(envelope.content)
        except SMTPResponseException as refused:
            return await self._refused(refused, to_recipient=True)
        return Answer(Reply(response.code, response.message), True)

    async def _refused(self, refused: SMTPResponseException, *, to_recipient: bool) -> Answer:
        # A refusal is known, whatever becomes of the connection after it.
        try:
            if refused.code == _CLOSING:
                self.usable = False
                self._client.close()
            else:
                await self._client.rset()
        except (SMTPException, OSError, TimeoutError):
            self.usable = False
            self._client.close()
        return Answer(Reply(refused.code, refused.message), to_recipient)


class ConnectionPool:
    """At most `size` connections to the relay of `smtp://[user:password@]host:port` (`smtps://` for implicit TLS)."""

    def __init__(self, url: Secret, hostname: str, *, size: int = 8) -> None:
        parts = urlsplit(url.reveal())
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SystemExit("SMTP_URL must be smtp://[user:password@]host:port")
        self._host = parts.hostname
        self._port = parts.port or (465 if parts.scheme == "smtps" else 25)
        self._implicit_tls = parts.scheme == "smtps"
        self._user = unquote(parts.username or "")
        self._password = Secret(unquote(parts.password or ""))
        self._hostname = hostname
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
            connection = self._idle.pop()
            if await connection.still_open():
                return connection
            await connection.close()
        return await self._connected()

    async def _connected(self) -> Connection:
        client = SMTP(
            hostname=self._host,
            port=self._port,
            local_hostname=self._hostname,
            timeout=_ANSWER_SECONDS,
            use_tls=self._implicit_tls,
            # A password never goes in the clear.
            start_tls=bool(self._user) and not self._implicit_tls,
            tls_context=ssl.create_default_context(),
        )
        try:
            await client.connect(timeout=_CONNECT_SECONDS)
            if self._user:
                await client.login(self._user, self._password.reveal())
            else:
                await client.ehlo()
        except (SMTPException, OSError, TimeoutError) as error:
            client.close()
            raise Unavailable(f"The mail relay does not answer: {error}") from error
        return Connection(client)
