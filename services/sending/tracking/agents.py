"""Persons and programs told apart by what asks: the rules of `agents.toml`, and HEAD, which no mail program and no browser sends."""

import tomllib
from collections.abc import Sequence
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

HEAD_ONLY = "head_only"


class Kind(StrEnum):
    """What somebody does with a mail, as a pixel or a link tells it."""

    OPENED = "opened"
    CLICKED = "clicked"


class AgentRule(BaseModel):
    """A rule as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    words: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    of: Kind | None = None
    person: bool = False

    def fits(self, kind: Kind, user_agent: str) -> bool:
        """Whether it is about whoever calls itself so."""
        if self.of not in (None, kind):
            return False
        named = user_agent.casefold()
        return user_agent in self.exact or any(word.casefold() in named for word in self.words)


@lru_cache(maxsize=10_000)
def bot_rule(kind: Kind, user_agent: str, *, head_only: bool) -> str:
    """The name of the rule that tells it from a person; empty for a person."""
    if head_only:
        return HEAD_ONLY
    rule = next((rule for rule in _rules() if rule.fits(kind, user_agent)), None)
    return "" if rule is None or rule.person else rule.name


@cache
def _rules() -> Sequence[AgentRule]:
    document = tomllib.loads((resources.files(__package__) / "agents.toml").read_text("utf-8"))
    return [AgentRule(**rule) for rule in document["agent"]]
