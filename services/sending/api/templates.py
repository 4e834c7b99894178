"""TemplateService: decode, call the domain, encode."""

from typing import Any, Literal
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import templates_pb2 as pb
from services.sending import templates
from services.sending.api.data import data_of

_TEXTS: tuple[Literal["name", "subject", "html", "text"], ...] = ("name", "subject", "html", "text")


class TemplateApi:
    """What mails say, kept under a name."""

    service = pb.DESCRIPTOR.services_by_name["TemplateService"]

    async def create_template(
        self, request: pb.CreateTemplateRequest, context: RequestContext, session: TenantSession
    ) -> pb.Template:
        """Keep a template. INVALID that tells line and column when it is not good."""
        content: dict[str, Any] = {field: getattr(request, field) for field in _TEXTS}
        content["layout_id"] = optional_id("layout_id", request.layout_id)
        return _as_message(await templates.create_template(session, content))

    async def get_template(
        self, request: pb.GetTemplateRequest, context: RequestContext, session: TenantSession
    ) -> pb.Template:
        """The template, or NOT_FOUND."""
        return _as_message(await templates.get_template(session, parse_id(request.template_id)))

    async def list_templates(
        self, request: pb.ListTemplatesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListTemplatesResponse:
        """Templates, newest first, without their bodies."""
        size = page_size(request.page_size)
        found = await templates.page_templates(
            session, before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListTemplatesResponse(
            templates=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def update_template(
        self, request: pb.UpdateTemplateRequest, context: RequestContext, session: TenantSession
    ) -> pb.Template:
        """Change what is present; NOT_FOUND, INVALID as CreateTemplate."""
        changes: dict[str, Any] = {
            field: getattr(request, field) for field in _TEXTS if request.HasField(field)
        }
        if request.HasField("layout_id"):
            changes["layout_id"] = optional_id("layout_id", request.layout_id)
        return _as_message(await templates.update_template(session, parse_id(request.template_id), changes))

    async def delete_template(
        self, request: pb.DeleteTemplateRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete it; NOT_FOUND, or CONFLICT when it is a layout or the template of a draft."""
        await templates.delete_template(session, parse_id(request.template_id))
        return Empty()

    async def render_template(
        self, request: pb.RenderTemplateRequest, context: RequestContext, session: TenantSession
    ) -> pb.RenderTemplateResponse:
        """What it says of the data; NOT_FOUND, or INVALID that tells where it cannot be rendered."""
        content = await templates.content_of(session, parse_id(request.template_id))
        said = content.rendered(
            {"contact": data_of(request.contact), "variables": data_of(request.variables)}
        )
        return pb.RenderTemplateResponse(subject=said.subject, html=said.body.html, text=said.body.text)


def optional_id(field: str, given: str) -> UUID | None:
    """The id, or None for an empty text. Raises InvalidRequest."""
    try:
        return UUID(given) if given else None
    except ValueError:
        raise InvalidRequest(FieldViolation(field, "must be a UUID, or empty")) from None


def _as_message(template: templates.SavedTemplate) -> pb.Template:
    message = pb.Template(
        id=str(template.id),
        name=template.name,
        subject=template.subject,
        html=template.html,
        text=template.text,
        layout_id=str(template.layout_id or ""),
        is_layout=template.is_layout,
    )
    message.created_at.FromDatetime(template.created_at)
    message.updated_at.FromDatetime(template.updated_at)
    return message
