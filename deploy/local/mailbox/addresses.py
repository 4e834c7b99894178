"""What each simulated address does, told by its local part, as providers' simulators do.

The domain does not matter, nor does a suffix: `bounce+42@anywhere.test` bounces.
"""

from dataclasses import dataclass
from enum import StrEnum


class ReportKind(StrEnum):
    """What is reported to the sender some time after a message was accepted."""

    COMPLAINT = "complaint"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an address treats mail. A refusal is the reply to RCPT TO; empty: it accepts."""

    refusal: str = ""
    slow: bool = False
    report: ReportKind | None = None


_ACCEPTS = Behaviour()
_BEHAVIOURS = {
    "success": _ACCEPTS,
    "bounce": Behaviour(refusal="550 5.1.1 There is no such mailbox here"),
    "soft-bounce": Behaviour(refusal="451 4.2.2 The mailbox is full, try again later"),
    "slow": Behaviour(slow=True),
    "complaint": Behaviour(report=ReportKind.COMPLAINT),
    "async-bounce": Behaviour(report=ReportKind.BOUNCE),
}


def behaviour_of(address: str) -> Behaviour:
    """The behaviour of an address; one that is not simulated accepts."""
    local, _, _ = address.rpartition("@")
    name, _, _ = local.lower().partition("+")
    return _BEHAVIOURS.get(name, _ACCEPTS)
