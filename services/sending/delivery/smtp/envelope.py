"""A message on its way to the relay, and what becomes of it there."""

from dataclasses import dataclass

from services.sending.delivery.replies import Reply

_ENDS_A_COMMAND = frozenset("\r\n\0")


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A message on its way: `content` in CRLF lines, not dot-stuffed. Raises ValueError when an address breaks its line."""

    sender: str
    recipient: str
    content: bytes
    # A mailbox in it has a form beyond ASCII only (RFC 6531).
    internationalized: bool = False

    def __post_init__(self) -> None:
        if _ENDS_A_COMMAND & {*self.sender, *self.recipient}:
            raise ValueError("an address of an envelope is one line")


@dataclass(frozen=True, slots=True)
class Answer:
    """The relay's reply to a message. `to_recipient` is false when it refused our own address, or us."""

    reply: Reply
    to_recipient: bool


class Broken(Exception):
    """The connection broke: nobody knows of `in_doubt`, nobody has got `not_begun`, and all before them was answered."""

    def __init__(self, why: str, *, in_doubt: Envelope | None, not_begun: Envelope | None) -> None:
        super().__init__(why)
        self.in_doubt = in_doubt
        self.not_begun = not_begun
