"""MessageService: decode, call the domain, encode."""

from collections.abc import Sequence

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DomainError
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import messages_pb2 as pb
from services.sending import messages
from services.sending.api.categories import message_category
from services.sending.api.intake import Intake
from services.sending.api.letters import letters_of
from services.sending.api.statuses import message_status, status_filter, suppression_reason
from services.sending.one_off import Letter, Outcome, send_letters


class MessageApi:
    """One mail to one person."""

    service = pb.DESCRIPTOR.services_by_name["MessageService"]

    def __init__(self, database: Database) -> None:
        self._intake = Intake(database, _accept)

    async def create_message(
        self, request: pb.CreateMessageRequest, context: RequestContext
    ) -> pb.CreateMessageResponse:
        """Queue a message; FAILED_PRECONDITION with reason SUPPRESSED when its recipient must not get mail."""
        return await self._intake.take(request, context)

    async def batch_create_messages(
        self, request: pb.BatchCreateMessagesRequest, context: RequestContext, session: TenantSession
    ) -> pb.BatchCreateMessagesResponse:
        """Queue messages, each for itself."""
        outcomes = await _send(session, request.messages)
        return pb.BatchCreateMessagesResponse(results=map(_as_result, outcomes))

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


async def _send(session: TenantSession, requests: Sequence[pb.CreateMessageRequest]) -> list[Outcome]:
    """Queue a message for each request that is for one; answers what became of each, in their order."""
    letters = await letters_of(session, requests)
    sent = iter(await send_letters(session, [letter for letter in letters if isinstance(letter, Letter)]))
    return [next(sent) if isinstance(letter, Letter) else letter for letter in letters]


async def _accept(
    session: TenantSession, requests: Sequence[pb.CreateMessageRequest]
) -> list[pb.CreateMessageResponse | DomainError]:
    return [
        outcome if isinstance(outcome, DomainError) else pb.CreateMessageResponse(message=as_message(outcome))
        for outcome in await _send(session, requests)
    ]


def as_message(message: messages.Message) -> pb.Message:
    """The contract's form of a message."""
    encoded = pb.Message(
        id=str(message.id),
        campaign_id=str(message.campaign_id or ""),
        contact_id=str(message.contact_id or ""),
        to=message.email,
        from_email=message.from_email,
        subject=message.subject,
        category=message_category(message.category),
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


def _as_result(outcome: Outcome) -> pb.CreateMessageResult:
    if isinstance(outcome, DomainError):
        return pb.CreateMessageResult(error=_as_refusal(outcome))
    return pb.CreateMessageResult(message=as_message(outcome))


def _as_refusal(error: DomainError) -> pb.MessageRefusal:
    return pb.MessageRefusal(
        type=error.reason.lower().replace("_", "-"),
        detail=error.message,
        errors=[
            pb.MessageFieldError(field=violation.field, message=violation.message)
            for violation in error.violations
        ],
    )


def _as_event(happening: messages.Happening) -> pb.MessageEvent:
    event = pb.MessageEvent(status=message_status(happening.status), detail=happening.detail)
    event.occurred_at.FromDatetime(happening.occurred_at)
    return event
