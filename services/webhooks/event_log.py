"""What webhooks have told and are to tell is kept for a month: events, deliveries, attempts. It can be sent again for so long."""

from datetime import timedelta

from chassis.retention import Kept

_A_MONTH = timedelta(days=30)

KEPT = (
    Kept("webhooks.attempts", "attempted_at", _A_MONTH),
    Kept("webhooks.deliveries", "created_at", _A_MONTH),
    Kept("webhooks.events", "received_at", _A_MONTH),
)
