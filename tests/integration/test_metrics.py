"""What the processes of a whole house show to those who run it."""

from collections import defaultdict

import httpx
from prometheus_client.parser import text_string_to_metric_families

from chassis.tests.deadlines import until
from deploy.observability.catalog import sample_labels
from deploy.observability.dashboards import dashboards
from deploy.observability.expressions import asked_of
from deploy.observability.rules import groups, rule_expressions
from tests.integration.house import House

# Beside what every process with an outbox and readers has.
OF_ITS_OWN = {
    "contacts": {"imports", "bulk_changes"},
    "suppression": {"batches"},
    "delivery": {"batches"},
    "workflows": {"enrollments"},
    "webhooks": {"webhook_deliveries"},
    "feedback": {"feedback_reports"},
    "integrations": {"syncs"},
}
# Of these there are rows only where there is something.
MAY_BE_EMPTY = {"imports", "bulk_changes", "syncs", "dead_letters"}


async def metrics(house: House, process: str) -> dict[str, list[dict[str, str]]]:
    """The labels of all samples by the name of the sample."""
    async with httpx.AsyncClient() as client:
        answer = (await client.get(house.facts["metrics_urls"][process])).raise_for_status()
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    return found


async def test_what_processes_show_is_what_the_rules_were_checked_by(house: House) -> None:
    known = sample_labels()
    for process in house.facts["metrics_urls"]:
        for name, samples in (await metrics(house, process)).items():
            # Beside each counter and histogram the client shows since when it counts.
            if name.startswith("flownurture_") and not name.endswith("_created"):
                assert {frozenset(labels) for labels in samples} == {known[name]}, (process, name)


def test_alerts_are_about_kinds_of_work_that_somebody_looks_up() -> None:
    looked_up = set().union({"outbox", "dead_letters"}, *OF_ITS_OWN.values())
    asked = [
        *(each for expression in rule_expressions(groups()) for each in asked_of(expression)),
        *(
            each
            for page in dashboards()
            for expression in page.expressions()
            for each in asked_of(expression)
        ),
    ]
    kinds = {
        value for each in asked if "backlog" in each.metric for name, value in each.values if name == "kind"
    }
    assert kinds
    assert kinds <= looked_up


async def test_every_process_shows_what_waits_for_it(house: House) -> None:
    for process in house.facts["metrics_urls"]:
        events = set() if process in ("gateway", "feedback") else {"outbox"}
        expected = events | OF_ITS_OWN.get(process, set()) - MAY_BE_EMPTY

        async def is_shown(process: str = process, expected: set[str] = expected) -> bool:
            shown = (await metrics(house, process))["flownurture_backlog_items"]
            return {labels["kind"] for labels in shown} >= expected

        await until(is_shown)
