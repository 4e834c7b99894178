"""The plans an organization can have, read from `plans.toml`."""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

# What is counted, by the name of its limit.
LIMITS = ("contacts", "emails_per_cycle", "members", "webhook_endpoints", "ai_tokens_per_cycle")
# Those whose count starts anew with each billing cycle.
BY_CYCLE = frozenset({"emails_per_cycle", "ai_tokens_per_cycle"})


class Plan(StrEnum):
    """A plan by its name in the database and in `plans.toml`."""

    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """Its place among the plans, from the smallest to the largest."""
        return list(Plan).index(self)


class Entitlements(BaseModel):
    """What a plan allows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: frozenset[str]
    contacts: PositiveInt
    emails_per_cycle: PositiveInt
    members: PositiveInt
    webhook_endpoints: PositiveInt
    ai_tokens_per_cycle: NonNegativeInt
    requests_per_minute: PositiveInt
    # For how long what recipients did with mail is kept one by one; the counts stay.
    event_retention_days: PositiveInt

    @property
    def limits(self) -> dict[str, int]:
        """How much may be held or used, by name."""
        return {name: getattr(self, name) for name in LIMITS}


@cache
def _all() -> Mapping[Plan, Entitlements]:
    document = tomllib.loads((resources.files(__package__) / "plans.toml").read_text("utf-8"))
    return {Plan(name): Entitlements(**values) for name, values in document.items()}


def features() -> frozenset[str]:
    """Every feature that some plan has."""
    return frozenset[str]().union(*(plan.features for plan in _all().values()))


def entitlements(plan: Plan) -> Entitlements:
    """What an organization on this plan may use, and how much of it."""
    return _all()[plan]
