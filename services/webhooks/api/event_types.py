"""WebhookEventTypeService: what endpoints can be told of."""

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.context import RequestContext
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.webhooks.v1 import event_types_pb2 as pb
from services.webhooks.event_types import EVENT_TYPES, example


class WebhookEventTypeApi:
    """The types, as the contract describes them."""

    service = pb.DESCRIPTOR.services_by_name["WebhookEventTypeService"]

    async def list_webhook_event_types(
        self, request: pb.ListWebhookEventTypesRequest, context: RequestContext
    ) -> pb.ListWebhookEventTypesResponse:
        """All of them: they fit one page."""
        if request.page_token:
            raise InvalidRequest(FieldViolation("page_token", "is not a token that a list answered with"))
        return pb.ListWebhookEventTypesResponse(
            event_types=[
                pb.WebhookEventType(
                    name=name,
                    group=kind.group,
                    description=kind.description,
                    example=ParseDict(example(name), Struct()),
                )
                for name, kind in EVENT_TYPES.items()
            ]
        )
