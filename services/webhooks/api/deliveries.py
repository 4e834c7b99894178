"""WebhookDeliveryService: decode, call the domain, encode."""

from collections.abc import Sequence

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.webhooks.v1 import deliveries_pb2 as pb
from services.webhooks import deliveries
from services.webhooks.api.fields import moment_of, timestamp
from services.webhooks.attempts import Attempt, attempts_of
from services.webhooks.deliveries import Delivery, DeliveryStatus, Wanted
from services.webhooks.endpoints import get_endpoint
from services.webhooks.waking import Wake

_STATUSES = {
    status: pb.WebhookDeliveryStatus.Value(f"WEBHOOK_DELIVERY_STATUS_{status.name}")
    for status in DeliveryStatus
}
_STATUS_OF = {value: status for status, value in _STATUSES.items()}


class WebhookDeliveryApi:
    """What was sent; `wake` is called for endpoints to which something is due once more."""

    service = pb.DESCRIPTOR.services_by_name["WebhookDeliveryService"]

    def __init__(self, wake: Wake) -> None:
        self._wake = wake

    async def list_webhook_deliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListWebhookDeliveriesResponse:
        """Deliveries to an endpoint, newest first, or NOT_FOUND."""
        before = decode_cursor(request.page_token)
        endpoint = await get_endpoint(session, parse_id(request.endpoint_id))
        wanted = Wanted(
            endpoint.id,
            status=_STATUS_OF.get(request.status),
            event_type=request.event_type or None,
            since=moment_of(request, "since"),
            until=moment_of(request, "until"),
        )
        size = page_size(request.page_size)
        found = await deliveries.page_deliveries(session, wanted, before=before, size=size + 1)
        return pb.ListWebhookDeliveriesResponse(
            deliveries=map(delivery_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def get_webhook_delivery(
        self, request: pb.GetWebhookDeliveryRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookDelivery:
        """The delivery with its attempts, or NOT_FOUND."""
        delivery = await deliveries.get_delivery(session, parse_id(request.delivery_id))
        return delivery_message(delivery, await attempts_of(session, delivery.id))

    async def replay_webhook_delivery(
        self, request: pb.ReplayWebhookDeliveryRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookDelivery:
        """Send it once more. NOT_FOUND; CONFLICT when that cannot be."""
        delivery = await deliveries.replay(session, parse_id(request.delivery_id))
        self._wake(context.organization, [delivery.endpoint_id])
        return delivery_message(delivery)


def delivery_message(delivery: Delivery, attempts: Sequence[Attempt] = ()) -> pb.WebhookDelivery:
    """A delivery as clients see it."""
    return pb.WebhookDelivery(
        id=str(delivery.id),
        endpoint_id=str(delivery.endpoint_id),
        event_id=str(delivery.event_id),
        event_type=delivery.event_type,
        status=_STATUSES[DeliveryStatus(delivery.status)],
        attempt_count=delivery.attempts,
        next_attempt_at=timestamp(delivery.due_at),
        last_status_code=delivery.last_status_code or 0,
        created_at=timestamp(delivery.created_at),
        settled_at=timestamp(delivery.settled_at),
        attempts=map(_attempt_message, attempts),
    )


def _attempt_message(attempt: Attempt) -> pb.WebhookAttempt:
    return pb.WebhookAttempt(
        id=str(attempt.id),
        number=attempt.number,
        outcome=attempt.outcome,
        status_code=attempt.status_code or 0,
        error=attempt.error,
        address=attempt.address,
        duration_ms=attempt.duration_ms,
        response_body=attempt.response_body,
        attempted_at=timestamp(attempt.attempted_at),
    )
