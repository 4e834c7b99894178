"""What a receiving server's reply means for a message (RFC 5321 §4.2, RFC 3463)."""

from dataclasses import dataclass, replace
from datetime import timedelta

from services.sending.bounces import Classification, Kind, classify, enhanced_code
from services.sending.statuses import MessageStatus

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
    # What a refusal says about the recipient; None where it speaks of something else.
    classified: Classification | None = None
    # Whether it was said to anybody at all.
    attempted: bool = True

    @property
    def address_is_bad(self) -> bool:
        """Whether nobody will ever get mail there."""
        return self.classified is not None and self.classified.kind is Kind.HARD


def judge(reply: Reply, *, to_recipient: bool, attempts: int) -> Verdict:
    """The verdict on a message after so many deferrals. `to_recipient`: the reply answered RCPT or the message."""
    if reply.code // 100 == 2:
        return Verdict(MessageStatus.SENT, reply.shown)
    if reply.code // 100 == 5:
        # By the table that reports of returned mail go by as well.
        classified = classify(enhanced_code(reply.text), reply.code, reply.text) if to_recipient else None
        return Verdict(MessageStatus.BOUNCED, reply.shown, classified=classified)
    verdict = put_off(reply.shown, attempts=attempts)
    if verdict.status is MessageStatus.FAILED and to_recipient:
        return replace(verdict, classified=_given_up(reply))
    return verdict


def _given_up(reply: Reply) -> Classification:
    """What refusals say together that were temporary, the last of them, for a day: that mail does not get through, never that it never will.

    Where they were meant for who sends (policy, reputation), they say nothing about the address.
    """
    classified = classify(enhanced_code(reply.text), reply.code, reply.text)
    if classified.kind is Kind.HARD:
        return Classification(Kind.SOFT, classified.rule)
    return classified


def put_off(detail: str, *, attempts: int) -> Verdict:
    """Try again later; failed when that was tried long enough."""
    if attempts >= len(_PAUSES):
        return Verdict(MessageStatus.FAILED, detail)
    return Verdict(MessageStatus.DEFERRED, detail, retry_after=_PAUSES[attempts])


def put_back(detail: str, again: timedelta) -> Verdict:
    """Not attempted yet, since it would not have been taken."""
    return Verdict(MessageStatus.DEFERRED, detail, retry_after=again, attempted=False)
