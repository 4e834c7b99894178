"""What a receiving server's reply means for a message (RFC 5321 §4.2, RFC 3463)."""

import re
from dataclasses import dataclass
from datetime import timedelta

from services.sending.statuses import MessageStatus

_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")

# Which permanent refusals say that the address itself is bad, and so that it must not be written to again. Policy,
# size and full mailboxes are permanent for the message alone.
_BAD_ADDRESS = frozenset({"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4"})
# What the basic code says where there is no enhanced one. 552 and 554 are about storage and policy.
_BAD_ADDRESS_CODES = frozenset({550, 551, 553})

# Pauses before each further attempt; about a day in all.
_PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=8),
)
_LONGEST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as the receiving server gave it."""

    code: int
    text: str

    @property
    def shown(self) -> str:
        """The reply in one line, as it is kept."""
        line = " ".join(f"{self.code} {self.text}".split())
        return "".join(letter for letter in line if letter.isprintable())[:_LONGEST_SHOWN]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a message; `retry_after` is set when it is deferred."""

    status: MessageStatus
    detail: str
    retry_after: timedelta | None = None
    address_is_bad: bool = False
    # Whether it was said to anybody at all.
    attempted: bool = True


def judge(reply: Reply, *, to_recipient: bool, attempts: int) -> Verdict:
    """The verdict on a message after so many deferrals. `to_recipient`: the reply answered RCPT or the message."""
    if reply.code // 100 == 2:
        return Verdict(MessageStatus.SENT, reply.shown)
    if reply.code // 100 == 5:
        return Verdict(
            MessageStatus.BOUNCED, reply.shown, address_is_bad=to_recipient and says_bad_address(reply)
        )
    return put_off(reply.shown, attempts=attempts)


def put_off(detail: str, *, attempts: int) -> Verdict:
    """Try again later; failed when that was tried long enough."""
    if attempts >= len(_PAUSES):
        return Verdict(MessageStatus.FAILED, detail)
    return Verdict(MessageStatus.DEFERRED, detail, retry_after=_PAUSES[attempts])


def put_back(detail: str, again: timedelta) -> Verdict:
    """Not attempted yet, since it would not have been taken."""
    return Verdict(MessageStatus.DEFERRED, detail, retry_after=again, attempted=False)


def says_bad_address(reply: Reply) -> bool:
    """Whether a refusal says that there is no such mailbox. The enhanced code counts more than the basic one."""
    enhanced = enhanced_code(reply)
    if enhanced is not None:
        return enhanced in _BAD_ADDRESS
    return reply.code in _BAD_ADDRESS_CODES


def enhanced_code(reply: Reply) -> str | None:
    """Its enhanced code (RFC 3463), if it has one."""
    found = _ENHANCED.search(reply.text)
    return found.group(0) if found else None
