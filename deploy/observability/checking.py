"""Whether what is watched exists: metrics and labels of every expression, a runbook for every alert, words for every metric."""

import re
from collections.abc import Iterator
from pathlib import Path

from deploy.observability.catalog import ADDED, catalog, sample_labels
from deploy.observability.dashboards import dashboards
from deploy.observability.expressions import NotPromQL, asked_of
from deploy.observability.generating import stale
from deploy.observability.objectives import alert_names
from deploy.observability.rules import RUNBOOKS, groups, recorded_names, rule_expressions

_ROOT = Path(__file__).parents[2]
_DOCUMENTED = re.compile(r"^\| `(flownurture_\w+|kube_\w+|up)` \|", re.MULTILINE)
_SECTIONS = ("## What it means", "## How to see it", "## What to do")


def problems() -> list[str]:
    """All that is wrong, a line each."""
    rules = groups()
    expressions = rule_expressions(rules)
    for dashboard in dashboards():
        expressions += dashboard.expressions()
    recorded = recorded_names(rules)
    return [
        *(f"generated/{name} is not what would be generated: run make observability" for name in stale()),
        *(problem for each in expressions for problem in problems_of(each, recorded)),
        *_unmatched("runbook", set(alert_names()), runbooks(), RUNBOOKS),
        *_unfinished_runbooks(),
        *_unmatched("description", set(catalog()), documented(), "docs/observability.md"),
    ]


def problems_of(expression: str, recorded: set[str]) -> Iterator[str]:
    """What an expression asks for that nobody exposes or records."""
    known = sample_labels()
    bounds = {f"{metric.name}_bucket": metric.bounds for metric in catalog().values() if metric.bounds}
    try:
        asked = asked_of(expression)
    except NotPromQL as error:
        yield str(error)
        return
    for each in asked:
        if each.metric in recorded:
            labels = frozenset({"promise"})
        elif each.metric in known:
            labels = known[each.metric]
        else:
            yield f"nobody exposes {each.metric}: {expression}"
            continue
        if missing := each.labels - labels - ADDED:
            yield f"{each.metric} has no label {', '.join(sorted(missing))}: {expression}"
        for bound in (value for label, value in each.values if label == "le"):
            if bound not in bounds.get(each.metric, ()):
                yield f"{each.metric} has no bucket le={bound}: {expression}"


def runbooks() -> set[str]:
    """The alerts that there are runbooks for."""
    return {path.stem for path in (_ROOT / RUNBOOKS).glob("*.md") if path.stem != "README"}


def documented() -> set[str]:
    """The metrics that the documentation has a row for."""
    return set(_DOCUMENTED.findall((_ROOT / "docs" / "observability.md").read_text()))


def _unmatched(what: str, wanted: set[str], there: set[str], where: str) -> Iterator[str]:
    for name in sorted(wanted - there):
        yield f"{name} has no {what} in {where}"
    for name in sorted(there - wanted):
        yield f"{where} has a {what} of {name}, which does not exist"


def _unfinished_runbooks() -> Iterator[str]:
    for name in sorted(runbooks()):
        text = (_ROOT / RUNBOOKS / f"{name}.md").read_text()
        for section in _SECTIONS:
            if section not in text:
                yield f"the runbook of {name} does not say: {section.removeprefix('## ')}"
