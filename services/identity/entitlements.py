"""Why an organization may or may not, in words: the rule, the plans that would let it, and when that changes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chassis.errors import FieldViolation, InvalidRequest
from services.identity.plans import BY_CYCLE, LIMITS, Entitlements, Plan, entitlements, features
from services.identity.subscriptions import Standing

_COUNTED = {
    "emails_per_cycle": "e-mails in a billing cycle",
    "ai_tokens_per_cycle": "tokens of language models in a billing cycle",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer about one feature or limit. `used` and `limit` are a limit's alone."""

    name: str
    allowed: bool
    rule: str
    plan: Plan
    plans: tuple[Plan, ...]
    used: int | None = None
    limit: int | None = None
    changes_at: datetime | None = None
    then: str = ""


def parse_feature(name: str) -> str:
    """The feature of this name; InvalidRequest, naming those there are, for any other."""
    return _known("feature", name, sorted(features()))


def parse_limit(name: str) -> str:
    """The limit of this name; InvalidRequest, naming those there are, for any other."""
    return _known("limit", name, LIMITS)


def explain_feature(standing: Standing, feature: str) -> Explanation:
    """Whether the feature may be used, and why."""
    plans = _plans(lambda plan: feature in plan.features)
    allowed = standing.plan in plans
    change = standing.next_plan is not None and (standing.next_plan in plans) != allowed
    return Explanation(
        name=feature,
        allowed=allowed,
        rule=f"{feature} belongs to {_listed(plans)}; the organization is on {standing.plan}.",
        plan=standing.plan,
        plans=plans,
        changes_at=standing.cycle.ends_at if change else None,
        then=f"The plan becomes {standing.next_plan}." if change else "",
    )


def explain_limit(standing: Standing, name: str, used: int) -> Explanation:
    """Whether one more would fit, and why."""
    limit = standing.entitlements.limits[name]
    next_plan = standing.next_plan or standing.plan
    next_limit = entitlements(next_plan).limits[name]
    by_cycle = name in BY_CYCLE
    starts_anew = "The count starts at 0. " if by_cycle else ""
    return Explanation(
        name=name,
        allowed=used < limit,
        rule=f"The plan {standing.plan} allows {limit:,} {_counted(name)}; {used:,} are used.",
        plan=standing.plan,
        plans=_plans(lambda plan: used < plan.limits[name]),
        used=used,
        limit=limit,
        changes_at=standing.cycle.ends_at if by_cycle or next_limit != limit else None,
        then=f"{starts_anew}The plan {next_plan} allows {next_limit:,}."
        if by_cycle or next_limit != limit
        else "",
    )


def _known(field: str, name: str, known: "tuple[str, ...] | list[str]") -> str:
    if name not in known:
        raise InvalidRequest(FieldViolation(field, f"is none of {', '.join(known)}"))
    return name


def _plans(allow: Callable[[Entitlements], bool]) -> tuple[Plan, ...]:
    return tuple(plan for plan in Plan if allow(entitlements(plan)))


def _listed(plans: tuple[Plan, ...]) -> str:
    return f"the plans {', '.join(plans)}" if plans else "no plan"


def _counted(name: str) -> str:
    return _COUNTED.get(name, name)
