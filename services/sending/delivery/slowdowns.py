"""What a temporary refusal is about: the message alone, all that goes to its provider, or the relay."""

import re
import tomllib
from enum import StrEnum
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from services.sending.bounces import enhanced_code
from services.sending.delivery.replies import Reply


class About(StrEnum):
    """Whose rate a refusal speaks of."""

    MESSAGE = "message"
    LANE = "lane"
    RELAY = "relay"


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    about: About
    code: int | None = None
    enhanced: str | None = None
    text: re.Pattern[str] | None = None
    provider: str | None = None

    def fits(self, reply: Reply, provider: str) -> bool:
        """Whether it speaks of this reply."""
        return (
            self.provider in (None, provider)
            and self.code in (None, reply.code)
            and self.enhanced in (None, enhanced_code(reply.text))
            and (self.text is None or self.text.search(reply.text) is not None)
        )


def about(reply: Reply, provider: str) -> About | None:
    """What a 4xx reply of a provider's mail is about; None when no rule says."""
    return next((rule.about for rule in _rules() if rule.fits(reply, provider)), None)


@cache
def _rules() -> tuple[_Rule, ...]:
    listed = tomllib.loads(resources.files(__package__).joinpath("slowdowns.toml").read_text("utf-8"))
    return tuple(
        _Rule(**{**rule, "text": re.compile(rule["text"], re.IGNORECASE)} if "text" in rule else rule)
        for rule in listed["rule"]
    )
