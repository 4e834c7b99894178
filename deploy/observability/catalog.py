"""Every metric that the processes of the platform expose, with its labels: read from the code that counts, not from a list."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from deploy.processes import PROCESSES, package_of

_OURS = "flownurture_"
# What a sample of each kind is called, and what labels it has beside the metric's own.
_SAMPLES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "counter": {"_total": frozenset()},
    "gauge": {"": frozenset()},
    "histogram": {"_bucket": frozenset({"le"}), "_count": frozenset(), "_sum": frozenset()},
}
# What Prometheus adds to everything, by how it is told to find pods (`pod-monitor.yaml`).
ADDED = frozenset({"job", "namespace", "pod", "container", "instance"})


@dataclass(frozen=True, slots=True)
class Metric:
    """What is exposed under a name."""

    name: str
    kind: str
    meaning: str
    labels: frozenset[str]
    bounds: tuple[str, ...] = ()

    def samples(self) -> Iterator[tuple[str, frozenset[str]]]:
        """The names under which it can be asked for, with the labels that it has there."""
        for suffix, more in _SAMPLES[self.kind].items():
            yield self.name + suffix, self.labels | more


# What tells of the platform and is exposed by others, and by whom.
ELSEWHERE = (
    Metric(
        "up",
        "gauge",
        "Whether Prometheus could ask a pod for its metrics: 1 or 0. By Prometheus itself.",
        frozenset(),
    ),
    Metric(
        "flownurture_backup_last_success_seconds",
        "gauge",
        "When the last backup succeeded, in seconds since 1970. By the command that makes it.",
        frozenset(),
    ),
    Metric(
        "kube_cronjob_status_last_successful_time",
        "gauge",
        "When a CronJob last succeeded, in seconds since 1970. By kube-state-metrics.",
        frozenset({"cronjob"}),
    ),
)


@cache
def catalog() -> Mapping[str, Metric]:
    """All of them, by name."""
    for process in PROCESSES:
        import_module(f"{package_of(process)}.server")
    collectors = [*REGISTRY._collector_to_names, *_registered_as_processes_start()]
    ours = (metric for each in collectors for metric in _metrics(each) if metric.name.startswith(_OURS))
    found = {metric.name: metric for metric in ours}
    elsewhere = {metric.name: metric for metric in ELSEWHERE}
    return dict(sorted((elsewhere | found).items()))


def sample_labels() -> Mapping[str, frozenset[str]]:
    """The labels that each sample has, by its name, beside those that Prometheus adds."""
    return {name: labels for metric in catalog().values() for name, labels in metric.samples()}


def _registered_as_processes_start() -> list[Collector]:
    from services.sending.delivery.busiest import Busiest  # noqa: PLC0415 - what imports the catalog need not start
    from services.sending.delivery.figures import Figures  # noqa: PLC0415

    return [Figures(()), Busiest()]


def _metrics(collector: Any) -> Iterator[Metric]:
    # Neither kind of collector tells its labels by a public name before there is a sample.
    if hasattr(collector, "_labelnames"):
        yield Metric(
            collector._name,
            collector._type,
            collector._documentation,
            frozenset(collector._labelnames),
            tuple(map(floatToGoString, getattr(collector, "_upper_bounds", ()))),
        )
        return
    for family in collector.collect():
        if family.type in _SAMPLES:
            labels = frozenset(getattr(family, "_labelnames", ()))
            yield Metric(family.name, family.type, family.documentation, labels)
