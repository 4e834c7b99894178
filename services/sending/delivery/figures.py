"""What operators see of relays and lanes, for Prometheus: how fast each may go, and why.

Lanes are told apart by well-known provider, all others are one; what was never used has no figure.
"""

from collections.abc import Iterable, Iterator
from time import monotonic

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chassis.logs import logger
from services.sending.delivery.lanes import Lane
from services.sending.delivery.relays import Relay
from services.sending.delivery.replies import Reply

ANSWERS = Counter(
    "flownurture_delivery_answers",
    "Answers to messages, by the relay, the mailbox provider, and the first digit of the reply.",
    ("relay", "provider", "reply"),
)


def count(relay: Relay, lane: Lane, reply: Reply) -> None:
    """Count an answer."""
    ANSWERS.labels(relay.name, lane.label, f"{reply.code // 100}xx").inc()


def note_slowdown(relay: Relay, lane: Lane, now: float) -> None:
    """Say in the log why a lane goes slower from now on."""
    logger().info(
        "lane_slowed",
        relay=relay.name,
        provider=lane.provider,
        reply=lane.slowed_by,
        messages_per_second=round(lane.pace.limit or 0.0, 3),
        closed_for_seconds=round(lane.pace.closed_until - now, 1),
    )


class Figures(Collector):
    """The state of relays and lanes at the moment of each scrape."""

    def __init__(self, relays: Iterable[Relay]) -> None:
        self._relays = relays

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is so now."""
        connections = GaugeMetricFamily(
            "flownurture_relay_connections", "Connections that are in use.", labels=["relay"]
        )
        most = GaugeMetricFamily(
            "flownurture_relay_connections_limit",
            "How many there may be, as was found out.",
            labels=["relay"],
        )
        down = GaugeMetricFamily(
            "flownurture_relay_down_seconds",
            "How long a relay that gave no answer is left alone yet.",
            labels=["relay"],
        )
        certificate = GaugeMetricFamily(
            "flownurture_relay_certificate_expires_seconds",
            "When the certificate that a relay showed last runs out, in seconds since 1970.",
            labels=["relay"],
        )
        limit = GaugeMetricFamily(
            "flownurture_lane_messages_per_second",
            "How fast a lane that was told to slow down may go: of those in one figure, the slowest.",
            labels=["relay", "provider"],
        )
        closed = GaugeMetricFamily(
            "flownurture_lane_closed_seconds",
            "How long such a lane is closed yet: of those in one figure, the longest.",
            labels=["relay", "provider"],
        )
        now = monotonic()
        for relay in self._relays:
            connections.add_metric([relay.name], relay.pool.in_use)
            most.add_metric([relay.name], relay.pool.concurrency.limit)
            down.add_metric([relay.name], relay.pool.down_for)
            if relay.pool.certificate_ends is not None:
                certificate.add_metric([relay.name], relay.pool.certificate_ends)
            for label, lanes in _slowed(relay).items():
                limit.add_metric([relay.name, label], min(lane.pace.limit or 0.0 for lane in lanes))
                closed.add_metric(
                    [relay.name, label], max(0.0, *(lane.pace.closed_until - now for lane in lanes))
                )
        yield from (connections, most, down, certificate, limit, closed)


def _slowed(relay: Relay) -> dict[str, list[Lane]]:
    slowed: dict[str, list[Lane]] = {}
    for lane in relay.lanes:
        if lane.pace.limit is not None:
            slowed.setdefault(lane.label, []).append(lane)
    return slowed
