"""Series on which alerts are tried, as promtool takes them: each alert on those on which it fires, and on those on which it rests."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from deploy.observability.objectives import Alert, Objective, alerts, objectives
from deploy.observability.rules import Rule, groups

Case: TypeAlias = Mapping[str, Any]

_MINUTES = re.compile(r"x(\d+)$")
# Long enough for the longer window of a page.
_BURNING_MINUTES = 65
_A_MINUTE = 1_000
_FAST, _SLOWLY_ENOUGH = 16, 0.5
NOTHING: Mapping[str, str] = {}


def trials() -> Iterator[tuple[str, Sequence[Mapping[str, Any]], Mapping[str, Any]]]:
    """The name of each alert, the groups of rules that it takes, and its trial, as `promtool test rules` reads them."""
    for objective in objectives():
        yield (
            objective.alert,
            _rules_about("promise", objective.name),
            _trial(_of_budget(objective), every="5m"),
        )
    for alert in alerts():
        yield (
            alert.name,
            _rules_about("alert", alert.name),
            _trial(_of_alert(alert.instances()[0]), every="1m"),
        )


def _rules_about(what: str, name: str) -> list[Mapping[str, Any]]:
    def is_meant(rule: Rule) -> bool:
        return bool({**rule["labels"], "alert": rule.get("alert")}.get(what) == name)

    return [{**group, "rules": list(filter(is_meant, group["rules"]))} for group in groups()]


def _trial(cases: Iterable[Case], *, every: str) -> Mapping[str, Any]:
    return {"evaluation_interval": every, "tests": list(cases)}


def _of_budget(objective: Objective) -> Iterator[Case]:
    # What is burnt sixteen times too fast is a page, and a ticket as well for whoever sleeps through it.
    for rate, told in ((_FAST, ("page", "ticket")), (_SLOWLY_ENOUGH, ())):
        yield _case(objective.alert, _spending(objective, rate), _BURNING_MINUTES, told)


def _spending(objective: Objective, rate: float) -> list[str]:
    bad = round(_A_MINUTE * objective.budget * rate)
    kept = _A_MINUTE - bad
    # What breaks a promise is beside what keeps it, as another status; what keeps it is a bucket of all there is.
    steps = (kept, bad) if objective.bad else (_A_MINUTE, kept)
    series = (objective.series.total, objective.series.told)
    return [f"{each} 0+{step}x{_BURNING_MINUTES}" for each, step in zip(series, steps, strict=True)]


def _of_alert(alert: Alert) -> Iterator[Case]:
    minutes = _length([*alert.fires, *alert.rests])
    yield _case(alert.name, alert.fires, minutes, (alert.severity,), alert.labels)
    yield _case(alert.name, alert.rests, minutes, (), alert.labels)


def _length(series: Sequence[str]) -> int:
    return min(int(found[1]) for each in series if (found := _MINUTES.search(each)))


def _case(
    alert: str, series: Sequence[str], minutes: int, told: Sequence[str], about: Mapping[str, str] = NOTHING
) -> Case:
    """On these series, after so many minutes, alerts of these severities fire and no others."""
    wanted = {"alertname": alert, "alertstate": "firing", **about}
    selector = ",".join(f'{name}="{value}"' for name, value in wanted.items())
    expected = [{"labels": f'{{severity="{severity}"}}', "value": 1} for severity in told]
    return {
        "name": f"{alert} {'fires' if told else 'rests'}",
        "interval": "1m",
        "input_series": [
            dict(zip(("series", "values"), each.rsplit(" ", 1), strict=True)) for each in series
        ],
        "promql_expr_test": [
            {
                "expr": f"count by (severity) (ALERTS{{{selector}}})",
                "eval_time": f"{minutes}m",
                "exp_samples": expected,
            }
        ],
    }
