"""How webhooks go, for Prometheus: attempts by what came of them, and how long the first of a delivery takes to come."""

from prometheus_client import Counter, Histogram
from sqlalchemy import text

from chassis.identifiers import milliseconds_of
from chassis.soundings import MOST
from services.webhooks.dispatch.parcels import Attempt, Parcel

ATTEMPTS = Counter(
    "flownurture_webhook_attempts",
    "Posts to endpoints by outcome: delivered, answered with no 2xx, or why there was no answer.",
    ("outcome",),
)

DELAY = Histogram(
    "flownurture_webhook_delay_seconds",
    "From when a delivery was made until its first attempt began, whatever was answered.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)

# For the scheduler's role: a probe of an index for each endpoint that is enabled, as the dispatcher's look is.
DUE = text("""
    SELECT 'due', count(*), coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0) FROM (
        SELECT delivery.due_at FROM webhooks.endpoints AS endpoint CROSS JOIN LATERAL (
            SELECT due_at FROM webhooks.deliveries
            WHERE organization_id = endpoint.organization_id AND endpoint_id = endpoint.id AND due_at <= now()
            ORDER BY due_at LIMIT :most
        ) AS delivery
        WHERE endpoint.enabled AND NOT EXISTS (
            SELECT FROM webhooks.standstills AS said
            WHERE said.organization_id = endpoint.organization_id AND said.stands_still
        ) LIMIT :most
    ) AS due
""").bindparams(most=MOST)


def count(parcel: Parcel, attempt: Attempt) -> None:
    """Count an attempt."""
    ATTEMPTS.labels(attempt.outcome).inc()
    if parcel.attempts == 0:
        made = milliseconds_of(parcel.delivery_id) / 1000
        DELAY.observe(max(0.0, attempt.attempted_at.timestamp() - made))
