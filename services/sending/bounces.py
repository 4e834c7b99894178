"""What a refusal says about its recipient: one table, `bounces.toml`, for replies on the wire and for mail that comes back.

It goes by enhanced codes (RFC 3463) and words, never by who said it. Only a hard bounce means a bad address: policy, size and full
mailboxes are permanent for the mail alone.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

# Neither a part of an IP address nor of a version.
_ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
# What stands before each line of a reply over several (RFC 5321 §4.2.1), where a phrase is broken.
_LINE_BEGINS = re.compile(
    r"(?<=\s)[245]\d\d(?:[- ]#?[245]\.\d{1,3}\.\d{1,3})?[- ]|(?<=\s)[245]\.\d{1,3}\.\d{1,3} "
)
_LONGEST_READ = 1_000


class Kind(StrEnum):
    """What a report, or a reply, means."""

    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"
    COMPLAINT = "complaint"
    # A program's word that says nothing against the address: out of office, delayed, delivered.
    AUTO_REPLY = "auto_reply"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Classification:
    """What it means, and by which rule; of what no rule fits the rule is empty."""

    kind: Kind
    rule: str = ""


def classify(enhanced: str, code: int | None, text: str) -> Classification:
    """Classify a refusal by its enhanced code (empty if it has none), its basic code and its words."""
    words = _LINE_BEGINS.sub("", " ".join(text[:_LONGEST_READ].split()))
    for rule in _rules():
        if rule.fits(enhanced, code, words):
            return Classification(rule.kind, rule.name)
    return Classification(Kind.UNKNOWN)


def enhanced_code(text: str) -> str:
    """The first enhanced code in a text, or nothing."""
    found = _ENHANCED.search(text)
    return found.group(0) if found else ""


def _as_pattern(codes: Sequence[str]) -> re.Pattern[str]:
    escaped = (code.replace(".", r"\.").replace("*", r"\d+" if "." in code else r"\d") for code in codes)
    return re.compile("|".join(escaped))


def _as_words(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("\n", ""), re.IGNORECASE)


_Codes = Annotated[re.Pattern[str], BeforeValidator(_as_pattern)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    enhanced: _Codes | None = None
    code: _Codes | None = None
    text: Annotated[re.Pattern[str], BeforeValidator(_as_words)] | None = None

    def fits(self, enhanced: str, code: int | None, words: str) -> bool:
        """Whether it speaks of such a refusal."""
        return (
            (self.enhanced is None or self.enhanced.fullmatch(enhanced) is not None)
            and (self.code is None or (not enhanced and self.code.fullmatch(str(code)) is not None))
            and (self.text is None or self.text.search(words) is not None)
        )


@cache
def _rules() -> tuple[_Rule, ...]:
    listed = tomllib.loads(resources.files(__package__).joinpath("bounces.toml").read_text("utf-8"))
    return tuple(_Rule.model_validate(rule) for rule in listed["rule"])
