"""What is posted to webhook endpoints, as OpenAPI's `webhooks` describes it, from the contract."""

from typing import Any

from google.protobuf.descriptor import Descriptor

from chassis.contract.comments import Comments
from chassis.contract.examples import example
from chassis.contract.json_encoding import encoder
from flownurture.options.v1 import webhook_pb2
from flownurture.webhooks.v1 import payloads_pb2
from gateway.schemas import Schemas

Json = dict[str, Any]

TAG: Json = {
    "name": "Webhooks",
    "description": "What is posted to the endpoints of an organization, signed, at least once and in any order.",
}
_EVENT = payloads_pb2.DESCRIPTOR.message_types_by_name["WebhookEvent"]
_ALWAYS = {
    "X-FlowNurture-Signature": "`t=<unix seconds>,id=<event id>,v1=<hex>`: HMAC-SHA256 of `{id}.{t}.{body}`. While the "
    "secret is being rotated a second `v1`, of the previous one.",
    "webhook-id": "The event's id, as Standard Webhooks has it.",
    "webhook-timestamp": "When the attempt was made, in seconds since 1970.",
    "webhook-signature": "`v1,<base64>`, the same signatures separated by spaces.",
}
_WHERE_ASKED_FOR = {
    "Content-Digest": "RFC 9530, where the endpoint asks for signatures by RFC 9421.",
    "Signature-Input": "RFC 9421, where the endpoint asks for it.",
    "Signature": "RFC 9421, where the endpoint asks for it.",
}
_RESPONSES = {
    "2XX": {"description": "It was taken. Whatever else is answered, redirects among it, it comes again."},
    "410": {"description": "The endpoint is gone: it is disabled."},
    "429": {
        "description": "Not now. No more is posted until then.",
        "headers": {"Retry-After": {"schema": {"type": "string"}}},
    },
}


def webhooks(schemas: Schemas, comments: Comments) -> dict[str, Json]:
    """Each type of event, in the order of the contract, with what is posted of it."""
    return {
        webhook.type: {"post": _operation(message, webhook, schemas, comments)}
        for message in payloads_pb2.DESCRIPTOR.message_types_by_name.values()
        if (webhook := message.GetOptions().Extensions[webhook_pb2.webhook]).type
    }


def _operation(
    message: Descriptor, webhook: webhook_pb2.Webhook, schemas: Schemas, comments: Comments
) -> Json:
    content = {"schema": _body(message, webhook.type, schemas), "example": _example(message, webhook.type)}
    return {
        "operationId": f"webhook.{webhook.type}",
        "tags": [TAG["name"]],
        "summary": webhook.type,
        "description": f"{comments.of(message)}  \nIn this form since version `{webhook.since}`.",
        "parameters": [
            *(_header(name, text, required=True) for name, text in _ALWAYS.items()),
            *(_header(name, text, required=False) for name, text in _WHERE_ASKED_FOR.items()),
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _RESPONSES,
    }


def _header(name: str, text: str, *, required: bool) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": text,
        "schema": {"type": "string"},
    }


def _body(message: Descriptor, event_type: str, schemas: Schemas) -> Json:
    properties = {field.name: schemas.field(field, written=False) for field in _EVENT.fields}
    properties["type"] = {"type": "string", "const": event_type}
    properties["data"] = schemas.answer(message)
    return {"type": "object", "required": list(properties), "properties": properties}


def _example(message: Descriptor, event_type: str) -> Json:
    body = encoder(_EVENT)(example(_EVENT))
    return {**body, "type": event_type, "data": encoder(message)(example(message))}
