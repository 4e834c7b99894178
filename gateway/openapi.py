"""OpenAPI 3.1 of the public API, from the contract."""

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from chassis.contract.access import AccessRule, Audience
from chassis.contract.bounds import rule_of
from chassis.contract.comments import Comments, comments
from gateway import webhooks
from gateway.endpoints import AUTHORIZATION, Endpoint
from gateway.problems import TYPE_PREFIX
from gateway.schemas import Schemas

Json = dict[str, Any]

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": [f"{TYPE_PREFIX}not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Of a 422: each field that is wrong.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_REFUSALS = {
    401: "No valid credential",
    403: "Role, scope or plan do not allow it",
    404: "There is no such thing in the caller's organization",
    409: "The state of things stands against it",
    413: "The body is too large",
    415: "The body is of another type",
    422: "Fields are wrong",
    429: "Too many requests",
    503: "Not available at the moment",
}
# What tells a client what to do next.
_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_EVENTS = "For who accepts it: server-sent events, as they come. The last is the whole answer, or `problem` with a problem document."
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body gives the same answer, for 24 hours at least.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_SCHEMES = {
    "access_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a signed-in user.",
    },
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `fnk_live_…`, that holds the scope, or a key derived from it, `fnk_derived_…`.",
    },
    "of_others": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "What was agreed with whom the endpoint is for; no credential of the platform.",
    },
}


def openapi(endpoints: Iterable[Endpoint], public_url: str) -> Json:
    """The document, with paths in the order of the contract."""
    notes = comments()
    schemas = Schemas(notes)
    paths: dict[str, Json] = {}
    services: dict[str, ServiceDescriptor] = {}
    for endpoint in endpoints:
        service = endpoint.rpc.containing_service
        services.setdefault(_tag(service), service)
        operation = _operation(endpoint, schemas, notes)
        paths.setdefault(endpoint.template.text, {})[endpoint.verb.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FlowNurture",
            "version": "1",
            "description": "E-mail marketing for teams. JSON with snake_case names; times are RFC 3339 in UTC; "
            "errors are problem documents.",
        },
        "servers": [{"url": public_url}],
        "tags": [
            *({"name": name, "description": notes.of(service)} for name, service in services.items()),
            webhooks.TAG,
        ],
        "paths": paths,
        "webhooks": webhooks.webhooks(schemas, notes),
        "components": {
            "schemas": {"Problem": _PROBLEM, **schemas.named},
            "securitySchemes": _SCHEMES,
        },
    }


def _tag(service: ServiceDescriptor) -> str:
    return service.name.removesuffix("Service")


def _operation(endpoint: Endpoint, schemas: Schemas, notes: Comments) -> Json:
    comment = notes.of(endpoint.rpc)
    operation: Json = {
        "operationId": endpoint.rpc.name,
        "tags": [_tag(endpoint.rpc.containing_service)],
        "summary": _words(endpoint.rpc.name),
        "description": "  \n".join(filter(None, (comment, _access_note(endpoint.access)))),
        "parameters": _parameters(endpoint, schemas),
        "responses": _responses(endpoint, schemas),
        "security": _security(endpoint),
    }
    body = _request_body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = body
    return operation


def _words(name: str) -> str:
    """`ListCampaignMessages` → `List campaign messages`."""
    return re.sub("(?<!^)([A-Z])", lambda match: f" {match[1].lower()}", name)


def _access_note(access: AccessRule) -> str:
    if access.audience is Audience.PUBLIC:
        return "For everybody."
    if access.audience is Audience.ACCOUNT:
        return "For a signed-in user."
    note = f"For users with the role {access.role.name} or above"
    note += f" and API keys with the scope `{access.scope}`." if access.scope else ", never for API keys."
    return note + (f" The plan must include `{access.feature}`." if access.feature else "")


def _security(endpoint: Endpoint) -> list[Json]:
    access = endpoint.access
    if access.audience is Audience.PUBLIC:
        return [{}, {"of_others": []}] if AUTHORIZATION in endpoint.headers.values() else []
    schemes: list[Json] = [{"access_token": []}]
    return [*schemes, {"api_key": [access.scope]}] if access.scope else schemes


def _parameters(endpoint: Endpoint, schemas: Schemas) -> list[Json]:
    fields = endpoint.rpc.input_type.fields_by_name
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": schemas.field(fields[name], written=True)}
        for name in endpoint.template.variables
    ]
    parameters += [
        {
            "name": field.name,
            "in": "query",
            "required": rule_of(field).required,
            "schema": schemas.field(field, written=True),
        }
        for field in endpoint.rpc.input_type.fields
        if field.name in endpoint.query_fields
    ]
    parameters += [
        {
            "name": header,
            "in": "header",
            "required": rule_of(fields[name]).required,
            "schema": schemas.field(fields[name], written=True),
        }
        # OpenAPI has it that a credential is no parameter.
        for name, header in endpoint.headers.items()
        if header != AUTHORIZATION
    ]
    # What is told bit by bit cannot be told again.
    if endpoint.verb == "POST" and endpoint.access.audience is not Audience.PUBLIC and not endpoint.result:
        parameters.append(_IDEMPOTENCY_KEY)
    return parameters


def _request_body(endpoint: Endpoint, schemas: Schemas) -> Json | None:
    message = endpoint.rpc.input_type
    if endpoint.is_upload:
        options = next(field.message_type for field in message.fields if field.message_type is not None)
        form = {
            "type": "object",
            "required": ["file"],
            "properties": {
                "options": schemas.body(options),
                "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            },
        }
        encoding = {"options": {"contentType": "application/json"}}
        return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": encoding}}}
    if endpoint.body_is_raw:
        return {"content": {"*/*": {}}}
    if not endpoint.body:
        return None
    left_out = endpoint.filled_elsewhere
    schema = (
        schemas.body(message, left_out)
        if endpoint.body == "*"
        else schemas.field(message.fields_by_name[endpoint.body], written=True)
    )
    required = any(rule_of(field).required for field in message.fields if field.name not in left_out)
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _responses(endpoint: Endpoint, schemas: Schemas) -> Json:
    success: Json = {"description": "Success"}
    if endpoint.answer_is_raw:
        success["content"] = {"*/*": {}}
    elif endpoint.answer_is_redirect:
        success["headers"] = {"Location": {"schema": {"type": "string", "format": "uri"}}}
    elif endpoint.success_status != 204:
        success["content"] = {"application/json": {"schema": schemas.answer(endpoint.answer_type)}}
        if endpoint.result:
            success["content"]["text/event-stream"] = {"schema": {"type": "string", "description": _EVENTS}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(endpoint.success_status): success,
        **{
            str(status): {"description": description, "content": problem, **_headers_of(status)}
            for status, description in _REFUSALS.items()
            if status != 415 or endpoint.is_upload
        },
    }


def _headers_of(status: int) -> Json:
    headers = {name: {"schema": {"type": "string"}} for name in _HEADERS.get(status, ())}
    return {"headers": headers} if headers else {}
