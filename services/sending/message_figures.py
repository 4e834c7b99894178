"""What becomes of messages at each stage, and how long it takes, for Prometheus."""

from collections.abc import Mapping
from time import time

from prometheus_client import Counter, Histogram

MESSAGES = Counter(
    "flownurture_messages",
    "Messages by stage (decided, claimed, settled) and what became of them there: approved, taken, a status, or why they were vetoed.",
    ("stage", "outcome"),
)

DELIVERY_DELAY = Histogram(
    "flownurture_delivery_delay_seconds",
    "Until the answer to the first attempt: of single messages from when they were taken in, of mailings from their approval.",
    ("kind",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)

SUPPRESSIONS = Counter(
    "flownurture_suppressions", "Addresses that were put on a suppression list, or again.", ("reason",)
)


def count(stage: str, outcomes: Mapping[str, int]) -> None:
    """Count so many messages of each outcome of a stage, once that is committed."""
    for outcome, number in outcomes.items():
        MESSAGES.labels(stage, outcome).inc(number)


def took(kind: str, since: float) -> None:
    """Note how long a message took from that moment, in seconds since 1970, until now."""
    DELIVERY_DELAY.labels(kind).observe(max(0.0, time() - since))
