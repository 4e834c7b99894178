"""MessageService: decode, call the domain, encode."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import messages_pb2 as pb
from services.sending import messages
from services.sending.api.addresses import address_of
from services.sending.api.data import data_of
from services.sending.api.statuses import message_status, status_filter, suppression_reason
from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.templates import require_content


class MessageApi:
    """One mail to one person."""

    service = pb.DESCRIPTOR.services_by_name["MessageService"]

    async def create_message(
        self, request: pb.CreateMessageRequest, context: RequestContext, session: TenantSession
    ) -> pb.CreateMessageResponse:
        """Queue a message; FAILED_PRECONDITION with reason SUPPRESSED when its recipient must not get mail."""
        to = address_of("to", request.to)
        content = await _content(session, request, to.text)
        letter = messages.Letter(
            to=to,
            from_email=address_of("from_email", request.from_email).text,
            from_name=request.from_name,
            subject=content.subject,
            body=content.body,
        )
        return pb.CreateMessageResponse(message=as_message(await messages.send_letter(session, letter)))

    async def get_message(
        self, request: pb.GetMessageRequest, context: RequestContext, session: TenantSession
    ) -> pb.Message:
        """The message with what became of it, or NOT_FOUND."""
        return as_message(await messages.get_message(session, parse_id(request.message_id)))

    async def list_messages(
        self, request: pb.ListMessagesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListMessagesResponse:
        """Messages, newest first."""
        size = page_size(request.page_size)
        found = await messages.page_messages(
            session,
            before=decode_cursor(request.page_token),
            size=size + 1,
            status=status_filter("status", request.status),
        )
        return pb.ListMessagesResponse(
            messages=map(as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )


async def _content(session: TenantSession, request: pb.CreateMessageRequest, to: str) -> Content:
    """What it says, rendered. Raises InvalidRequest."""
    if request.template_id:
        if request.html or request.text:
            raise InvalidRequest(FieldViolation("template_id", "takes the place of html and text"))
        template = await require_content(session, parse_id(request.template_id))
        content = Content(request.subject or template.subject, template.body)
    else:
        content = Content(request.subject, Body.of(request.html, request.text))
    if not content.subject:
        raise InvalidRequest(FieldViolation("subject", "must be given"))
    if request.template_id or request.HasField("variables"):
        return content.rendered({"contact": {"email": to}, "variables": data_of(request.variables)})
    return content


def as_message(message: messages.Message) -> pb.Message:
    """The contract's form of a message."""
    encoded = pb.Message(
        id=str(message.id),
        campaign_id=str(message.campaign_id or ""),
        contact_id=str(message.contact_id or ""),
        to=message.email,
        from_email=message.from_email,
        subject=message.subject,
        status=message_status(message.status),
        smtp_reply=message.smtp_reply,
        events=map(_as_event, message.happenings),
    )
    encoded.created_at.FromDatetime(message.created_at)
    if message.settled_at is not None:
        encoded.settled_at.FromDatetime(message.settled_at)
    if message.veto_reason is not None:
        encoded.veto_reason = suppression_reason(message.veto_reason)
    return encoded


def _as_event(happening: messages.Happening) -> pb.MessageEvent:
    event = pb.MessageEvent(status=message_status(happening.status), detail=happening.detail)
    event.occurred_at.FromDatetime(happening.occurred_at)
    return event
