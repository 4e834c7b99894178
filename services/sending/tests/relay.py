"""A mail relay that a test tells how to answer."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

# What a relay does with a recipient or a message: its reply, or None to break the connection.
Answer = Callable[[str], Awaitable[str | None]]


async def _accepts(_: str) -> str | None:
    return "250 2.0.0 OK"


class MailRelay:
    """A real SMTP server on a free port. `accepted` holds each message that it said yes to."""

    port: int

    def __init__(self) -> None:
        self.on_recipient: Answer = _accepts
        self.on_message: Answer = _accepts
        self.accepted: list[tuple[str, bytes]] = []
        # Every message whose body has come in, whatever was answered.
        self.seen: list[str] = []
        # Whom it was sent from, by address.
        self.clients: set[str] = set()
        # Where bounces of the mail to somebody were to go.
        self.return_paths: dict[str, str] = {}
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self._sessions:
            session.cancel()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def handed_over(self) -> Counter[str]:
        """How often each recipient was sent a whole message."""
        return Counter(self.seen)

    def mail_to(self, recipient: str) -> bytes:
        """The only mail that was accepted for somebody."""
        (content,) = [content for to, content in self.accepted if to == recipient]
        return content

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(reply: str) -> None:
            writer.write(reply.encode() + b"\r\n")

        self.clients.add(writer.get_extra_info("peername")[0])
        say("220 relay.test")
        sender = recipient = ""
        in_transaction = False
        while line := (await reader.readline()).decode():
            verb = line[:4].upper()
            if verb == "EHLO":
                say("250-relay.test\r\n250-PIPELINING\r\n250 SMTPUTF8")
            elif verb == "MAIL":
                say("503 5.5.1 nested MAIL" if in_transaction else "250 OK")
                sender = line[line.index("<") + 1 : line.rindex(">")]
                in_transaction, recipient = True, ""
            elif verb == "RSET":
                in_transaction, recipient = False, ""
                say("250 OK")
            elif verb == "RCPT":
                recipient = line[line.index("<") + 1 : line.rindex(">")]
                answer = await self.on_recipient(recipient)
                if answer is None:
                    return
                recipient = recipient if answer.startswith("2") else ""
                say(answer)
            elif verb == "DATA" and not recipient:
                say("554 5.5.1 no valid recipients")
            elif verb == "DATA":
                in_transaction = False
                say("354 go on")
                content = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                self.seen.append(recipient)
                self.return_paths[recipient] = sender
                answer = await self.on_message(recipient)
                if answer is None:
                    return
                if answer.startswith("2"):
                    self.accepted.append((recipient, content))
                say(answer)
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 OK")
