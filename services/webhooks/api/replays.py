"""WebhookReplayService: decode, call the domain, encode."""

from datetime import UTC, datetime

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.webhooks.v1 import replays_pb2 as pb
from services.webhooks import replays
from services.webhooks.api.fields import moment_of, timestamp
from services.webhooks.endpoints import get_endpoint
from services.webhooks.replays import Chosen, Replay, ReplayStatus

_STATUSES = {
    status: pb.WebhookReplayStatus.Value(f"WEBHOOK_REPLAY_STATUS_{status.name}") for status in ReplayStatus
}
_CHOSEN = {
    chosen: pb.WebhookReplayDeliveries.Value(f"WEBHOOK_REPLAY_DELIVERIES_{chosen.name}") for chosen in Chosen
}
_CHOSEN_OF = {value: chosen for chosen, value in _CHOSEN.items()}


class WebhookReplayApi:
    """What is sent once more by a range of time."""

    service = pb.DESCRIPTOR.services_by_name["WebhookReplayService"]

    async def create_webhook_replay(
        self, request: pb.CreateWebhookReplayRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookReplay:
        """Begin a replay. NOT_FOUND; CONFLICT when the endpoint is disabled, or a replay for it is running."""
        now = datetime.now(UTC)
        since, until = moment_of(request, "since") or now, moment_of(request, "until") or now
        if since >= until:
            raise InvalidRequest(FieldViolation("until", "must be later than since"))
        begun = await replays.create_replay(
            session,
            parse_id(request.endpoint_id),
            _CHOSEN_OF.get(request.deliveries, Chosen.FAILED),
            since=since,
            until=until,
        )
        return _as_message(begun)

    async def get_webhook_replay(
        self, request: pb.GetWebhookReplayRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookReplay:
        """How far the replay is, or NOT_FOUND."""
        return _as_message(await replays.get_replay(session, parse_id(request.replay_id)))

    async def list_webhook_replays(
        self, request: pb.ListWebhookReplaysRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListWebhookReplaysResponse:
        """Replays for an endpoint, newest first, or NOT_FOUND."""
        before = decode_cursor(request.page_token)
        endpoint = await get_endpoint(session, parse_id(request.endpoint_id))
        size = page_size(request.page_size)
        found = await replays.page_replays(session, endpoint.id, before=before, size=size + 1)
        return pb.ListWebhookReplaysResponse(
            replays=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )


def _as_message(replay: Replay) -> pb.WebhookReplay:
    return pb.WebhookReplay(
        id=str(replay.id),
        endpoint_id=str(replay.endpoint_id),
        since=timestamp(replay.since),
        until=timestamp(replay.until),
        deliveries=_CHOSEN[Chosen(replay.deliveries)],
        status=_STATUSES[ReplayStatus(replay.status)],
        replayed_count=replay.replayed,
        created_at=timestamp(replay.created_at),
        completed_at=timestamp(replay.completed_at),
    )
