"""Whether an exported chain is whole, told from the file alone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.sending.suppression.decisions.chain import BEGINNING, hash_of


@dataclass(frozen=True, slots=True)
class Break:
    """A line of the file that is not what was written, and why."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


@dataclass(slots=True)
class Verdict:
    """What was found of a file. Without breaks its chain is whole, from the day's first decision to `head`."""

    length: int = 0
    head: bytes = BEGINNING
    # Decisions at the end that were in no chain yet when the file was written: nothing vouches for them.
    not_linked: int = 0
    breaks: list[Break] = field(default_factory=list)


def verify(lines: Iterable[bytes], published_head: bytes | None = None) -> Verdict:
    """Find every place where a file is not what was written.

    A chain alone shows what was changed, moved, added or taken out of it. That its end was cut off, or all of it written anew,
    shows against the head that was published when its day was closed.
    """
    verdict = Verdict()
    whose = stated = (None, None)
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            what = _follow(verdict, content)
            stated = (content["organization_id"], content["day"])
        except (ValueError, LookupError, TypeError):
            what, stated = "is no decision", whose
        whose = whose if number > 1 else stated
        if what is None and stated != whose:
            what = "is of another organization or day"
        if what is not None:
            verdict.breaks.append(Break(number, what))
    if published_head is not None:
        if verdict.head != published_head:
            verdict.breaks.append(Break(number, "the chain does not end with the published head"))
        elif verdict.not_linked:
            verdict.breaks.append(Break(number, "something follows the published head"))
    return verdict


def _follow(verdict: Verdict, content: dict[str, Any]) -> str | None:
    """Count a decision in, and go on behind it; answers what is wrong with it."""
    stated = content.pop("hash")
    if stated is None:
        verdict.not_linked += 1
        return "is not linked" if content["sequence"] is not None else None
    expected, before = verdict.length + 1, verdict.head
    verdict.length, verdict.head = content["sequence"], bytes.fromhex(stated)
    if verdict.not_linked:
        return "is linked, and follows what is not"
    if content["sequence"] != expected:
        return f"has sequence {content['sequence']} in the place of {expected}"
    if content["previous_hash"] != before.hex():
        return "does not follow the decision before it"
    if hash_of(content) != verdict.head:
        return "is not what was written"
    return None
