"""What a provider tells of one message, whoever it is: the words that adapters speak.

A refusal is classified by its status and its words, as it is in a mail. What the provider calls it counts only where there is neither,
and then never for a bad address: providers call hard what is not, and not what is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.sending.bounces import Kind, enhanced_code
from services.sending.feedback.complaints import is_of_a_person
from services.sending.feedback.understanding import Finding, Shape, refusal


@dataclass(frozen=True, slots=True)
class Event:
    """One of those that a post tells.

    `carried` is what the provider was given with the message and gives back; `addresses` are texts in which our own addresses for the
    message may stand. Without a genuine token in either it is about nothing.
    """

    finding: Finding
    carried: str = ""
    addresses: Sequence[str] = ()


class Called(StrEnum):
    """What a provider calls a message that it gave up."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    # By the receiver or, before it tried, by the provider.
    BLOCKED = "blocked"


# What the name alone says: never that an address is bad, and of what is transient nothing, since answers by programs are called so too.
_BY_NAME = {Called.PERMANENT: Kind.SOFT, Called.TRANSIENT: Kind.UNKNOWN, Called.BLOCKED: Kind.BLOCK}


def refused(status: str, words: str, called: Called, reporter: str = "") -> Finding:
    """A message that the provider gave up, by the status and the words that it was given, or gives."""
    if enhanced_code(status) or words.strip():
        return refusal(Shape.PROVIDER, status, words, reporter)
    return Finding(
        Shape.PROVIDER, _BY_NAME[called], f"called_{called}", returned=called is not Called.TRANSIENT
    )


def deferred(status: str, words: str, reporter: str = "") -> Finding:
    """A message that the provider goes on trying, or says so: unless the receiver has said for good that there is nobody."""
    found = refused(status, words, Called.TRANSIENT, reporter)
    if found.kind is Kind.HARD and not found.enhanced_status.startswith("4"):
        return found
    return Finding(Shape.PROVIDER, Kind.AUTO_REPLY, "delayed", found.enhanced_status, found.diagnosis)


def complaint(feedback_type: str = "", reporter: str = "") -> Finding:
    """A person's word that a message is spam, by the type of ARF (RFC 5965) where the provider passes it on."""
    counts = not feedback_type or is_of_a_person(feedback_type)
    rule = f"feedback_type_{feedback_type or 'missing'}"[:60]
    return Finding(Shape.PROVIDER, Kind.COMPLAINT if counts else Kind.UNKNOWN, rule, reporter=reporter[:255])


OPTED_OUT = Finding(Shape.PROVIDER, Kind.AUTO_REPLY, "opted_out", opts_out=True)
