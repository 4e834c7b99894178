"""The receiving side of SMTP (RFC 5321) with PIPELINING, 8BITMIME, SMTPUTF8, SIZE and enhanced status codes.

One object per connection, fed with bytes as they come. Commands of one packet are answered in one packet, and a
message is answered when it is on disk; until then the connection's next commands wait, so replies keep their order.
"""

import asyncio
from functools import partial
from typing import cast

from deploy.local.mailbox.envelope import MAX_MESSAGE_BYTES, Envelope, Refused
from deploy.local.mailbox.intake import Accepted, Intake
from deploy.local.mailbox.reports import HOSTNAME

_MAX_LINE_BYTES = 4096
_IDLE_SECONDS = 300
_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", f"SIZE {MAX_MESSAGE_BYTES}", "ENHANCEDSTATUSCODES")
_END = b"\r\n.\r\n"


class Sessions:
    """The connections that are open, and what they share."""

    def __init__(self, intake: Intake, slow_seconds: float) -> None:
        self.intake = intake
        self.slow_seconds = slow_seconds
        self._open: set[SmtpSession] = set()

    def begin(self) -> "SmtpSession":
        """A session for a connection that is about to be made."""
        return SmtpSession(self)

    def add(self, session: "SmtpSession") -> None:
        """Count a session in, from connection to disconnection."""
        self._open.add(session)

    def remove(self, session: "SmtpSession") -> None:
        """Count it out."""
        self._open.discard(session)

    def close(self) -> None:
        """Say good-bye on every connection."""
        for session in list(self._open):
            session.dismiss("421 4.3.2 Shutting down")


class SmtpSession(asyncio.Protocol):
    """One connection. While `_receiving` bytes are a message; while `_waiting` they are kept for later."""

    _transport: asyncio.Transport

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._searched = 0
        self._replies: list[str] = []
        self._greeted = False
        self._receiving = False
        self._oversize = False
        self._waiting = False
        self._envelope: Envelope | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._last_heard = self._loop.time()

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._sessions.add(self)
        self._idle = self._loop.call_later(_IDLE_SECONDS, self._check_idle)
        self._reply(f"220 {HOSTNAME} ESMTP FlowNurture mailbox simulator")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a message that was received completely is kept all the same."""
        self._sessions.remove(self)
        if self._idle:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        """Act on what has come, as far as it goes."""
        self._last_heard = self._loop.time()
        self._buffer += data
        if self._waiting and len(self._buffer) > MAX_MESSAGE_BYTES:
            self._transport.pause_reading()
        self._proceed()

    def dismiss(self, reply: str) -> None:
        """Answer with `reply` and close."""
        self._reply(reply)
        self._flush()
        self._transport.close()

    def _check_idle(self) -> None:
        left = self._last_heard + _IDLE_SECONDS - self._loop.time()
        if left <= 0 and not self._waiting:
            self.dismiss("421 4.4.2 Nothing heard for too long")
        else:
            self._idle = self._loop.call_later(max(left, 1), self._check_idle)

    def _proceed(self) -> None:
        while not self._waiting and not self._transport.is_closing():
            if not (self._receive_message() if self._receiving else self._receive_command()):
                break
        self._flush()

    def _reply(self, *lines: str) -> None:
        self._replies += lines

    def _flush(self) -> None:
        if self._replies and not self._transport.is_closing():
            self._transport.write("".join(f"{line}\r\n" for line in self._replies).encode("ascii", "replace"))
        self._replies.clear()

    # Commands

    def _receive_command(self) -> bool:
        """Take one line from the buffer; False when there is none yet."""
        end = self._buffer.find(b"\n")
        if end < 0 and len(self._buffer) <= _MAX_LINE_BYTES:
            return False
        if end < 0 or end > _MAX_LINE_BYTES:
            self.dismiss("500 5.5.2 The line is too long")
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        try:
            self._obey(line.decode())
        except UnicodeDecodeError:
            self._reply("500 5.5.2 The command is not UTF-8")
        except Refused as refused:
            self._reply(refused.reply)
        return True

    def _obey(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "RCPT":
                self._begun().add(argument)
                self._reply("250 2.1.5 Recipient fine")
            case "MAIL":
                self._begin_message(argument)
            case "DATA":
                self._begin_data(argument)
            case "EHLO" | "HELO" as greeting:
                self._greet(greeting, argument)
            case "RSET":
                self._envelope = None
                self._reply("250 2.0.0 Forgotten")
            case "NOOP":
                self._reply("250 2.0.0 Here")
            case "VRFY":
                self._reply("252 2.5.0 Send mail and see")
            case "QUIT":
                self.dismiss("221 2.0.0 Good-bye")
            case _:
                self._reply("500 5.5.1 There is no such command")

    def _greet(self, greeting: str, name: str) -> None:
        if not name.strip():
            raise Refused(f"501 5.5.4 {greeting} needs a name")
        self._greeted = True
        self._envelope = None
        if greeting == "HELO":
            self._reply(f"250 {HOSTNAME}")
        else:
            lines = (HOSTNAME, *_EXTENSIONS)
            self._reply(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def _begin_message(self, argument: str) -> None:
        if not self._greeted:
            raise Refused("503 5.5.1 Say EHLO first")
        if self._envelope is not None:
            raise Refused("503 5.5.1 A message has been begun already")
        self._envelope = Envelope.begin(argument)
        self._reply("250 2.1.0 Sender fine")

    def _begun(self) -> Envelope:
        if self._envelope is None:
            raise Refused("503 5.5.1 Say MAIL first")
        return self._envelope

    def _begin_data(self, argument: str) -> None:
        if argument.strip():
            raise Refused("501 5.5.4 DATA takes no argument")
        if not self._begun().recipients:
            raise Refused("554 5.5.1 There is no valid recipient")
        self._receiving, self._oversize, self._searched = True, False, 0
        # The line end before the body counts, so that a body of a lone dot is an empty one.
        self._buffer[:0] = b"\r\n"
        self._reply("354 End with a dot on a line of its own")

    # Messages

    def _receive_message(self) -> bool:
        """Take the message from the buffer; False when its end has not come yet."""
        end = self._buffer.find(_END, self._searched)
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            self._drop_oversize()
            return False
        oversize = self._oversize or end > MAX_MESSAGE_BYTES
        # A dot that a line of the message began with was doubled (§4.5.2).
        content = b"" if oversize else bytes(self._buffer[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + len(_END)]
        envelope, self._envelope = self._begun(), None
        self._receiving = False
        if oversize:
            self._reply("552 5.3.4 The message is larger than SIZE allows")
        else:
            self._keep(envelope, content)
        return True

    def _drop_oversize(self) -> None:
        """Hold no more of a message that is too large than is needed to see its end."""
        if self._oversize or len(self._buffer) > MAX_MESSAGE_BYTES + len(_END):
            self._oversize = True
            del self._buffer[: self._searched]
            self._searched = 0

    def _keep(self, envelope: Envelope, content: bytes) -> None:
        self._waiting = True
        message = Accepted(envelope.sender, tuple(envelope.recipients.items()), content)
        self._sessions.intake.keep(message, partial(self._kept, envelope))

    def _kept(self, envelope: Envelope, message_id: int | None) -> None:
        if message_id is None:
            self._answer_message("452 4.3.1 The message cannot be stored now")
        elif any(behaviour.slow for behaviour in envelope.recipients.values()):
            self._loop.call_later(
                self._sessions.slow_seconds, self._answer_message, f"250 2.0.0 Kept as {message_id}"
            )
        else:
            self._answer_message(f"250 2.0.0 Kept as {message_id}")

    def _answer_message(self, reply: str) -> None:
        self._waiting = False
        self._last_heard = self._loop.time()
        self._reply(reply)
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._proceed()
