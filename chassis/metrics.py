"""What a process counts about itself, for Prometheus."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

RPC_SECONDS = Histogram(
    "flownurture_rpc_seconds",
    "How long RPCs took in this process, from the arrival of the request to the answer.",
    ("method", "code"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

RPCS_IN_FLIGHT = Gauge("flownurture_rpcs_in_flight", "RPCs that this process is answering now.")

LOOP_LAG = Histogram(
    "flownurture_event_loop_lag_seconds",
    "How much later than it was due the event loop came to what was due, looked at each second.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

DATABASE_WAIT = Histogram(
    "flownurture_database_wait_seconds",
    "How long transactions waited for a connection of their pool.",
    ("role",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

CERTIFICATE_ENDS = Gauge(
    "flownurture_certificate_expires_seconds",
    "When the certificate runs out that the process shows, in seconds since 1970, by what it is for.",
    ("use",),
)

BUS_CONNECTED = Gauge("flownurture_bus_connected", "Whether the event bus can be reached: 1 or 0.")

EVENTS_PUBLISHED = Counter(
    "flownurture_events_published", "Events that went from the outbox to their stream.", ("domain",)
)

EVENTS_READ = Counter(
    "flownurture_events_read",
    "Deliveries of events: handled, failed and to come again, waiting for what does not answer, parked.",
    ("stream", "outcome"),
)

EVENTS_PENDING = Gauge(
    "flownurture_events_pending",
    "Events that waited in a stream for this reader when it was last given one.",
    ("stream",),
)

EVENTS_OLDEST = Gauge(
    "flownurture_events_oldest_seconds",
    "How long ago the oldest event that this process has in hand came into its stream; 0 without any.",
    ("stream",),
)

EVENT_AGE = Histogram(
    "flownurture_event_age_seconds",
    "From when an event came into its stream until this reader was done with it.",
    ("stream",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)

BACKLOG = Gauge(
    "flownurture_backlog_items",
    "What waits in the database to be done, by kind and part; more than 10,000 are not counted.",
    ("kind", "part"),
)

BACKLOG_OLDEST = Gauge(
    "flownurture_backlog_oldest_seconds", "How long the oldest of it has waited.", ("kind", "part")
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Every metric of this process in the text format that Prometheus reads."""
    return generate_latest()
