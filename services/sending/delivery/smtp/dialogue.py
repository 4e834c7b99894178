"""What is said and heard on a connection while messages are handed over, without the connection itself.

With PIPELINING (RFC 2920) a message's MAIL, RCPT and DATA are one write, which the body of the message before it begins: one
round trip a message. A body is said only once its DATA was answered, and that comes after the answer to the body before it. So
a connection that breaks leaves one message in doubt at most.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto

from services.sending.delivery.replies import Reply
from services.sending.delivery.smtp.envelope import Answer, Envelope

# What the relay offers, by its name in capitals, with what follows the name (RFC 5321 §4.1.1.1).
Extensions = Mapping[str, str]

_GO_ON = 354
# The service is going away, whatever the message (RFC 5321 §3.8).
_CLOSING = 421


class _Said(Enum):
    RSET = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    BODY = auto()
    # In place of the body of a message that nobody takes (RFC 2920 §3.1).
    NOTHING = auto()


class Dialogue:
    """One run of messages over one connection.

    `next_envelope` gives the next message to offer, None when there is none; `begin` hears of each whose body is said, before it
    is; `settle` hears the answer to each in turn.
    """

    def __init__(
        self,
        extensions: Extensions,
        next_envelope: Callable[[], Envelope | None],
        settle: Callable[[Envelope, Answer], None],
        begin: Callable[[Envelope], object] = lambda _: None,
    ) -> None:
        self.in_doubt: Envelope | None = None
        self.offered: Envelope | None = None
        self.closing = False
        self._extensions = extensions
        self._pipelining = "PIPELINING" in extensions
        self._largest = _size_limit(extensions)
        self._next_envelope = next_envelope
        self._settle = settle
        self._begin = begin
        self._to_say: deque[tuple[_Said, bytes]] = deque()
        self._said: deque[_Said] = deque()
        self._refusal: Answer | None = None
        self._transaction_open = False

    @property
    def over(self) -> bool:
        """Whether everything that was begun is answered and nothing more is to be begun."""
        return self.closing or not (self._said or self._to_say)

    def begin(self) -> bytes:
        """What to say first."""
        self._offer_next()
        return self._aloud()

    def heard(self, reply: Reply) -> bytes:
        """Take the reply to what was said first and is not answered; answers what to say next.

        Once the relay takes its leave, what it says to the rest of what it was told counts for nothing.
        """
        if self.closing:
            return b""
        match self._said.popleft() if self._said else None:
            case None:
                # Nobody asked: the relay takes its leave (RFC 5321 §4.2.1).
                self.closing = True
            case _Said.MAIL:
                self._heard_of_sender(reply)
            case _Said.RCPT:
                self._heard_of_recipient(reply)
            case _Said.DATA:
                self._heard_of_data(reply)
            case _Said.BODY:
                self._heard_of_body(reply)
            case _Said.NOTHING:
                self._transaction_open = False
                self._settle_offered()
        self.closing = self.closing or reply.code == _CLOSING
        return b"" if self.closing else self._aloud()

    def _heard_of_sender(self, reply: Reply) -> None:
        self._transaction_open = _agrees(reply)
        if not _agrees(reply) and reply.code != _CLOSING:
            self._refusal = Answer(reply, to_recipient=False)

    def _heard_of_recipient(self, reply: Reply) -> None:
        if not _agrees(reply):
            self._refusal = self._refusal or Answer(reply, to_recipient=True)
        if reply.code == _CLOSING:
            self._answer_offered()

    def _heard_of_data(self, reply: Reply) -> None:
        if reply.code != _GO_ON:
            self._refusal = self._refusal or Answer(reply, to_recipient=True)
            self._settle_offered()
        elif self._refusal is not None:
            self._say(_Said.NOTHING, b".\r\n")
        elif self.offered is not None:
            self._begin(self.offered)
            self.in_doubt, self.offered = self.offered, None
            self._transaction_open = False
            self._say(_Said.BODY, _stuffed(self.in_doubt.content))
            self._offer_next()

    def _heard_of_body(self, reply: Reply) -> None:
        if self.in_doubt is not None:
            settled, self.in_doubt = self.in_doubt, None
            self._settle(settled, Answer(reply, to_recipient=True))

    def _settle_offered(self) -> None:
        self._answer_offered()
        self._offer_next()

    def _answer_offered(self) -> None:
        if self.offered is not None and self._refusal is not None:
            settled, self.offered = self.offered, None
            self._settle(settled, self._refusal)
        self._refusal = None

    def _offer_next(self) -> None:
        while (envelope := self._next_envelope()) is not None:
            refusal = self._refused_beforehand(envelope)
            if refusal is None:
                self._offer(envelope)
                return
            self._settle(envelope, refusal)
        self._end_transaction()

    def _offer(self, envelope: Envelope) -> None:
        self.offered = envelope
        self._end_transaction()
        parameters = f" SIZE={len(envelope.content)}" if self._largest is not None else ""
        if envelope.internationalized:
            parameters += " SMTPUTF8"
        if "8BITMIME" in self._extensions and not envelope.content.isascii():
            parameters += " BODY=8BITMIME"
        self._say(_Said.MAIL, f"MAIL FROM:<{envelope.sender}>{parameters}\r\n".encode())
        self._say(_Said.RCPT, f"RCPT TO:<{envelope.recipient}>\r\n".encode())
        self._say(_Said.DATA, b"DATA\r\n")

    def _end_transaction(self) -> None:
        if self._transaction_open:
            self._say(_Said.RSET, b"RSET\r\n")
            self._transaction_open = False

    def _refused_beforehand(self, envelope: Envelope) -> Answer | None:
        """What the relay would say, as its extensions tell."""
        if envelope.internationalized and "SMTPUTF8" not in self._extensions:
            return Answer(Reply(553, "5.6.7 the relay takes no internationalized addresses"), False)
        if self._largest and len(envelope.content) > self._largest:
            return Answer(Reply(552, "5.3.4 the relay takes no message of this size"), False)
        return None

    def _say(self, what: _Said, words: bytes) -> None:
        self._to_say.append((what, words))

    def _aloud(self) -> bytes:
        """All that may be said now: one command at a time without PIPELINING, and nothing behind DATA before its answer."""
        pieces = []
        while self._to_say and (self._pipelining or not self._said):
            what, words = self._to_say.popleft()
            self._said.append(what)
            pieces.append(words)
        return b"".join(pieces)


def _agrees(reply: Reply) -> bool:
    return reply.code // 100 == 2


def _size_limit(extensions: Extensions) -> int | None:
    """None when the relay does not know SIZE, 0 when it tells no limit (RFC 1870)."""
    told = extensions.get("SIZE")
    return None if told is None else int(told) if told.isdecimal() else 0


def _stuffed(content: bytes) -> bytes:
    """Ready for the wire: no line of it ends the message (RFC 5321 §4.5.2)."""
    # Looked for first: most mails have none, and looking is cheaper than replacing.
    stuffed = content.replace(b"\r\n.", b"\r\n..") if b"\r\n." in content else content
    if content.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")
