"""WebhookEndpointService: decode, call the domain, encode."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from chassis.secret import Secret
from chassis.vault.vault import Vault
from flownurture.webhooks.v1 import deliveries_pb2
from flownurture.webhooks.v1 import endpoints_pb2 as pb
from services.webhooks import endpoints
from services.webhooks.api.deliveries import delivery_message
from services.webhooks.api.fields import timestamp
from services.webhooks.endpoint_headers import Headers, parse_headers
from services.webhooks.endpoints import Changes, Draft, Endpoint
from services.webhooks.event_types import VERSIONS, check_patterns
from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.destinations import DestinationRules, parse_destination
from services.webhooks.rehearsals import send_test_event
from services.webhooks.waking import Wake

_REASONS: Mapping[str | None, pb.WebhookDisabledReason.ValueType] = {
    None: pb.WEBHOOK_DISABLED_REASON_UNSPECIFIED,
    "failing": pb.WEBHOOK_DISABLED_REASON_FAILING,
    "gone": pb.WEBHOOK_DISABLED_REASON_GONE,
}

# What a change may leave out.
_Optional: TypeAlias = Literal["description", "enabled", "rate_limit", "message_signatures"]


class WebhookEndpointApi:
    """Endpoints; `wake` is called for those to which something may be due."""

    service = pb.DESCRIPTOR.services_by_name["WebhookEndpointService"]

    def __init__(self, vault: Vault, rules: DestinationRules, wake: Wake) -> None:
        self._vault = vault
        self._rules = rules
        self._wake = wake

    async def create_webhook_endpoint(
        self, request: pb.CreateWebhookEndpointRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookEndpoint:
        """Create an endpoint; the only answer that holds its first secret."""
        check_patterns(request.event_types)
        draft = Draft(
            url=self._url_of(request.url),
            event_types=_each_once(request.event_types),
            description=request.description,
            enabled=request.enabled if request.HasField("enabled") else True,
            headers=_headers_of(request) or (),
            rate_limit=request.rate_limit or None,
            api_version=_version_of(request.api_version or VERSIONS[-1]),
            message_signatures=request.message_signatures,
        )
        return _as_message(*await endpoints.create_endpoint(session, self._vault, draft))

    async def get_webhook_endpoint(
        self, request: pb.GetWebhookEndpointRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookEndpoint:
        """The endpoint, or NOT_FOUND."""
        return _as_message(await endpoints.get_endpoint(session, parse_id(request.endpoint_id)))

    async def list_webhook_endpoints(
        self, request: pb.ListWebhookEndpointsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListWebhookEndpointsResponse:
        """Endpoints, newest first."""
        size = page_size(request.page_size)
        found = await endpoints.page_endpoints(
            session, before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListWebhookEndpointsResponse(
            webhook_endpoints=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_webhook_endpoint(
        self, request: pb.UpdateWebhookEndpointRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookEndpoint:
        """Change what is given, or NOT_FOUND."""
        check_patterns(request.event_types)
        changes = Changes(
            url=self._url_of(request.url) if request.HasField("url") else None,
            event_types=_each_once(request.event_types) or None,
            description=_given(request, "description"),
            enabled=_given(request, "enabled"),
            headers=_headers_of(request),
            rate_limit=_given(request, "rate_limit"),
            api_version=_version_of(request.api_version) if request.HasField("api_version") else None,
            message_signatures=_given(request, "message_signatures"),
        )
        changed = await endpoints.update_endpoint(
            session, self._vault, parse_id(request.endpoint_id), changes
        )
        self._wake(context.organization, [changed.id])
        return _as_message(changed)

    async def delete_webhook_endpoint(
        self, request: pb.DeleteWebhookEndpointRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the endpoint, or NOT_FOUND; what waits for it is not sent."""
        await endpoints.delete_endpoint(session, parse_id(request.endpoint_id))
        return Empty()

    async def rotate_webhook_endpoint_secret(
        self, request: pb.RotateWebhookEndpointSecretRequest, context: RequestContext, session: TenantSession
    ) -> pb.WebhookEndpoint:
        """Give the endpoint a new secret, or NOT_FOUND; the only answer that holds it."""
        rotated, secret = await endpoints.rotate_secret(session, self._vault, parse_id(request.endpoint_id))
        self._wake(context.organization, [rotated.id])
        return _as_message(rotated, secret)

    async def test_webhook_endpoint(
        self, request: pb.TestWebhookEndpointRequest, context: RequestContext, session: TenantSession
    ) -> deliveries_pb2.WebhookDelivery:
        """Send an example. NOT_FOUND; CONFLICT when the endpoint is disabled."""
        endpoint_id = parse_id(request.endpoint_id)
        delivery = await send_test_event(session, endpoint_id, request.event_type)
        self._wake(context.organization, [endpoint_id])
        return delivery_message(delivery)

    def _url_of(self, text: str) -> str:
        try:
            parse_destination(text, self._rules)
        except Refused as refusal:
            raise InvalidRequest(FieldViolation("url", str(refusal))) from None
        return text


def _given(request: pb.UpdateWebhookEndpointRequest, field: _Optional) -> Any:
    return getattr(request, field) if request.HasField(field) else None


def _each_once(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _headers_of(
    request: pb.CreateWebhookEndpointRequest | pb.UpdateWebhookEndpointRequest,
) -> Headers | None:
    return parse_headers(MessageToDict(request.headers)) if request.HasField("headers") else None


def _version_of(text: str) -> str:
    if text not in VERSIONS:
        raise InvalidRequest(FieldViolation("api_version", f"must be one of {', '.join(VERSIONS)}"))
    return text


def _as_message(endpoint: Endpoint, secret: Secret | None = None) -> pb.WebhookEndpoint:
    return pb.WebhookEndpoint(
        id=str(endpoint.id),
        url=endpoint.url,
        event_types=endpoint.event_types,
        description=endpoint.description,
        enabled=endpoint.enabled,
        disabled_reason=_REASONS[endpoint.disabled_reason],
        header_names=endpoint.header_names,
        rate_limit=endpoint.rate_limit or 0,
        api_version=endpoint.api_version,
        message_signatures=endpoint.message_signatures,
        failing_since=timestamp(endpoint.failing_since),
        paused_until=timestamp(endpoint.paused_until),
        previous_secret_until=timestamp(endpoint.previous_secret_until),
        created_at=timestamp(endpoint.created_at),
        updated_at=timestamp(endpoint.updated_at),
        secret=secret.reveal() if secret else "",
    )
