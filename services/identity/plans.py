"""The plans an organization can have, read from `plans.toml`."""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, PositiveInt


class Plan(StrEnum):
    """A plan by its name in the database and in `plans.toml`."""

    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class Entitlements(BaseModel):
    """What a plan allows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: frozenset[str]
    contacts: PositiveInt
    emails_per_cycle: PositiveInt
    members: PositiveInt
    requests_per_minute: PositiveInt


@cache
def _all() -> Mapping[Plan, Entitlements]:
    document = tomllib.loads((resources.files(__package__) / "plans.toml").read_text("utf-8"))
    return {Plan(name): Entitlements(**values) for name, values in document.items()}


def entitlements(plan: Plan) -> Entitlements:
    """What an organization on this plan may use, and how much of it."""
    return _all()[plan]
