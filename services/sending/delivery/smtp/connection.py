"""One connection to the relay: its opening (EHLO, TLS, AUTH), and the messages that go over it."""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable
from time import monotonic
from typing import cast

from chassis.errors import Unavailable
from services.sending.delivery.replies import Reply
from services.sending.delivery.smtp.dialogue import Dialogue, Extensions
from services.sending.delivery.smtp.envelope import Answer, Broken, Envelope
from services.sending.relay_address import RelayAddress

_CONNECT_SECONDS = 15.0
_GOODBYE_SECONDS = 2.0
# RFC 5321 §4.5.3.2. Whoever gives up on a body too early has it in doubt.
_ANSWER_SECONDS = 300.0
_BODY_ANSWER_SECONDS = 600.0
# A line of a reply (RFC 5321 §4.2): its code, whether more follow, its text.
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:(-)| |$)(.*)", re.DOTALL)
# No reply is as long; a relay that goes on and on is none.
_LONGEST_REPLY = 64 * 1024


class Connection(asyncio.Protocol):
    """Opened by `open`; `usable` until it breaks, or the relay takes its leave."""

    def __init__(self) -> None:
        self.usable = True
        # With what the relay took its leave.
        self.farewell: Reply | None = None
        self._transport: asyncio.Transport
        self._extensions: Extensions = {}
        self._unread = b""
        self._lines: list[str] = []
        self._dialogue: Dialogue | None = None
        self._greeting: asyncio.Future[Reply]
        self._awaited: asyncio.Future[Reply] | None = None
        self._over: asyncio.Future[None] | None = None
        self._last_heard = 0.0

    @property
    def certificate_ends(self) -> float | None:
        """When the relay's certificate runs out, in seconds since 1970; None without TLS."""
        certificate = self._transport.get_extra_info("peercert")
        return ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None

    @classmethod
    async def open(cls, relay: RelayAddress, hostname: str, tls: ssl.SSLContext) -> "Connection":
        """Connect, with TLS when the relay has it, and log in. Raises Unavailable."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await _connected(relay, tls)
                await connection._introduced(relay, hostname, tls)
        except (OSError, Broken, Refused) as error:
            why = str(error) or "it took too long"
            raise Unavailable(f"The mail relay does not answer: {why}") from error
        return connection

    async def hand_over(
        self,
        next_envelope: Callable[[], Envelope | None],
        settle: Callable[[Envelope, Answer], None],
        begin: Callable[[Envelope], object] = lambda _: None,
    ) -> None:
        """Hand over what `next_envelope` gives until it gives none; `settle` hears each answer as it comes in.

        `begin` hears of each message before its body is said: from then on it may be in doubt.

        Raises Broken, and is not usable then.
        """
        dialogue = self._dialogue = Dialogue(self._extensions, next_envelope, settle, begin)
        self._over = asyncio.get_running_loop().create_future()
        self._last_heard = monotonic()
        try:
            if not self.usable:
                raise self._broken("it was closed")
            self._go_on(dialogue, dialogue.begin())
            await self._watched(dialogue, self._over)
        finally:
            self._dialogue = self._over = None

    async def close(self) -> None:
        """Say goodbye if the relay listens, and close."""
        try:
            if self.usable:
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self._ask(b"QUIT\r\n")
        except (Broken, TimeoutError):
            pass
        finally:
            self.usable = False
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the greeting."""
        self._transport = cast("asyncio.Transport", transport)
        self._greeting = self._awaited = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Read replies (RFC 5321 §4.2) and go on with what they answer."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            # Given up in the middle of what came in: the rest answers nothing any more.
            if self.usable:
                self._read_line(line.rstrip(b"\r"))
        if len(self._unread) + sum(len(line) + 1 for line in self._lines) > _LONGEST_REPLY:
            self._give_up("its reply has no end")

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for a reply waits in vain."""
        self._give_up(str(exc) if exc else "it was closed")

    def _read_line(self, line: bytes) -> None:
        read = _REPLY_LINE.fullmatch(line)
        if read is None:
            self._give_up("it does not speak SMTP")
            return
        code, more, text = read.groups()
        self._lines.append(text.decode(errors="replace"))
        if not more:
            reply = Reply(int(code), "\n".join(self._lines))
            self._lines = []
            self._heard(reply)

    def _heard(self, reply: Reply) -> None:
        self._last_heard = monotonic()
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            if not awaited.done():
                awaited.set_result(reply)
        elif self._dialogue is not None:
            self._go_on(self._dialogue, self._dialogue.heard(reply))
            if self._dialogue.closing:
                self.farewell = reply
                self._give_up(reply.shown)
        else:
            self.farewell = reply
            self._give_up(reply.shown)

    def _go_on(self, dialogue: Dialogue, words: bytes) -> None:
        if words:
            self._transport.write(words)
        elif dialogue.over and not dialogue.closing and self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _give_up(self, why: str) -> None:
        self.usable = False
        broken = self._broken(why)
        for waiting in (self._awaited, self._over):
            if waiting is not None and not waiting.done():
                waiting.set_exception(broken)
        self._awaited = None
        self._transport.abort()

    def _broken(self, why: str) -> Broken:
        dialogue = self._dialogue
        return Broken(
            why,
            in_doubt=dialogue.in_doubt if dialogue else None,
            not_begun=dialogue.offered if dialogue else None,
        )

    async def _watched(self, dialogue: Dialogue, over: asyncio.Future[None]) -> None:
        while not over.done():
            patience = _ANSWER_SECONDS if dialogue.in_doubt is None else _BODY_ANSWER_SECONDS
            left = self._last_heard + patience - monotonic()
            if left <= 0:
                self._give_up("it does not answer")
            else:
                await asyncio.wait({over}, timeout=left)
        over.result()

    async def _introduced(self, relay: RelayAddress, hostname: str, tls: ssl.SSLContext) -> None:
        try:
            await self._introduce(relay, hostname, tls)
        except BaseException:
            # Nobody else knows of it.
            self._transport.abort()
            raise

    async def _introduce(self, relay: RelayAddress, hostname: str, tls: ssl.SSLContext) -> None:
        _require(await self._greeting, "greeting")
        await self._say_hello(hostname)
        if "STARTTLS" in self._extensions and not relay.implicit_tls:
            await self._start_tls(relay, tls)
            # What was said in the clear may have been said by anybody (RFC 3207 §4.2).
            await self._say_hello(hostname)
        if relay.user:
            await self._log_in(relay)

    async def _say_hello(self, hostname: str) -> None:
        reply = _require(await self._ask(f"EHLO {hostname}\r\n".encode()), "EHLO")
        offers = (line.partition(" ") for line in reply.text.split("\n")[1:])
        self._extensions = {name.upper(): told for name, _, told in offers}

    async def _start_tls(self, relay: RelayAddress, tls: ssl.SSLContext) -> None:
        _require(await self._ask(b"STARTTLS\r\n"), "STARTTLS")
        if not self.usable or self._unread or self._lines:
            raise Refused("it said something between STARTTLS and TLS")
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self._transport, self, tls, server_hostname=relay.host)
        if transport is None:
            raise Refused("it was closed")
        self._transport = transport

    async def _log_in(self, relay: RelayAddress) -> None:
        """AUTH PLAIN (RFC 4616), or LOGIN where the relay knows no better."""
        if self._transport.get_extra_info("ssl_object") is None:
            raise Refused("it has no TLS, and a password does not go in the clear")
        mechanisms = self._extensions.get("AUTH", "").upper().split()
        if "PLAIN" in mechanisms or "LOGIN" not in mechanisms:
            said = _base64(f"\0{relay.user}\0{relay.password.reveal()}")
            _require(await self._ask(b"AUTH PLAIN " + said), "AUTH")
            return
        reply = await self._ask(b"AUTH LOGIN\r\n")
        for said in (_base64(relay.user), _base64(relay.password.reveal())):
            if reply.code // 100 == 3:
                reply = await self._ask(said)
        _require(reply, "AUTH")

    async def _ask(self, command: bytes) -> Reply:
        if not self.usable:
            raise self._broken("it was closed")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited = answer
        self._transport.write(command)
        return await answer


class Refused(Exception):
    """The relay takes no mail from us."""


async def _connected(relay: RelayAddress, tls: ssl.SSLContext) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection,
        relay.host,
        relay.port,
        ssl=tls if relay.implicit_tls else None,
        server_hostname=relay.host if relay.implicit_tls else None,
        local_addr=(relay.source, 0) if relay.source else None,
    )
    return connection


def _require(reply: Reply, to: str) -> Reply:
    if reply.code // 100 != 2:
        raise Refused(f"its reply to {to} was {reply.shown}")
    return reply


def _base64(words: str) -> bytes:
    return b64encode(words.encode()) + b"\r\n"
