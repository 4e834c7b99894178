"""What a process counts about itself, for Prometheus."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

RPC_SECONDS = Histogram(
    "flownurture_rpc_seconds",
    "How long RPCs took in this process, from the arrival of the request to the answer.",
    ("method", "code"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

EVENTS_PUBLISHED = Counter(
    "flownurture_events_published", "Events that went from the outbox to their stream.", ("domain",)
)

EVENTS_READ = Counter(
    "flownurture_events_read",
    "Deliveries of events: handled, failed and to come again, waiting for what does not answer, parked.",
    ("stream", "outcome"),
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Every metric of this process in the text format that Prometheus reads."""
    return generate_latest()
