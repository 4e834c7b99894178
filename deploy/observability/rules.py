"""Rules for Prometheus: how fast each promise is being broken, and when somebody is told.

An error budget is spent at a rate of 1 when just what may be bad in thirty days is bad. Somebody is paged for what would use up two
percent of it in an hour or five in six hours, and gets a ticket for ten percent in a day or three; the short window beside each long one ends the
alert soon after the trouble (Google, *The Site Reliability Workbook*, chapter 5).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from deploy.observability.objectives import Alert, Objective, Severity, alerts, objectives

Rule: TypeAlias = Mapping[str, Any]

RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class Burning:
    """How fast a budget has to burn, over two windows, for somebody to be told."""

    severity: Severity
    rate: float
    long: str
    short: str


BURNING = (
    Burning("page", 14.4, "1h", "5m"),
    Burning("page", 6, "6h", "30m"),
    Burning("ticket", 3, "1d", "2h"),
    Burning("ticket", 1, "3d", "6h"),
)
_WINDOWS = sorted({window for each in BURNING for window in (each.long, each.short)})


def groups() -> list[Mapping[str, Any]]:
    """All rules, in groups."""
    recorded = [rule for each in objectives() for rule in _recorded(each)]
    burning = [rule for each in objectives() for rule in _burning(each)]
    told = [_told(instance) for each in alerts() for instance in each.instances()]
    return [
        {"name": "flownurture-promises", "rules": recorded},
        {"name": "flownurture-budgets", "rules": burning},
        {"name": "flownurture-alerts", "rules": told},
    ]


def rule_expressions(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """What groups of rules ask for."""
    return [rule["expr"] for group in rules for rule in group["rules"]]


def recorded_names(rules: Sequence[Mapping[str, Any]]) -> set[str]:
    """What they record, which may be asked for like a metric."""
    return {rule["record"] for group in rules for rule in group["rules"] if "record" in rule}


def error_ratio_name(window: str) -> str:
    """Under which name the share that was bad is recorded."""
    return f"flownurture:errors:ratio_rate{window}"


def _recorded(each: Objective) -> Iterator[Rule]:
    for window in _WINDOWS:
        yield {
            "record": error_ratio_name(window),
            "expr": each.error_ratio(window),
            "labels": {"promise": each.name},
        }


def _burning(each: Objective) -> Iterator[Rule]:
    for severity in ("page", "ticket"):
        conditions = [_burns(each, burning) for burning in BURNING if burning.severity == severity]
        yield {
            "alert": each.alert,
            "expr": "\nor\n".join(conditions),
            "labels": {"severity": severity, "promise": each.name},
            "annotations": {
                "summary": f"The budget is being used up of: {each.promise}",
                "runbook": f"{RUNBOOKS}/{each.alert}.md",
            },
        }


def _burns(each: Objective, burning: Burning) -> str:
    threshold = round(burning.rate * each.budget, 6)
    windows = (
        f'{error_ratio_name(window)}{{promise="{each.name}"}} > {threshold}'
        for window in (burning.long, burning.short)
    )
    return f"({' and '.join(windows)})"


def _told(alert: Alert) -> Rule:
    return {
        "alert": alert.name,
        "expr": alert.expr.strip(),
        "for": alert.after,
        "labels": {"severity": alert.severity, **alert.labels},
        "annotations": {"summary": alert.summary, "runbook": f"{RUNBOOKS}/{alert.name}.md"},
    }
