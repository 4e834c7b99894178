"""`AccountPageService`: the pages behind the links in account mails (see `pages.py`)."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.errors import DomainError, FieldViolation, InvalidRequest, Unavailable
from flownurture.identity.v1 import account_pages_pb2 as pb
from flownurture.identity.v1.account_pb2 import ResetPasswordRequest, VerifyEmailRequest
from flownurture.identity.v1.team_pb2 import AcceptInvitationRequest
from services.identity.api.account import AccountService
from services.identity.api.team import InvitationService
from services.identity.pages import done_page, invitation_page, reset_password_page, verify_email_page

_HTML = "text/html; charset=utf-8"
_LONGEST_VALUE = 256


class AccountPageService:
    """Reading a page changes nothing; sending its form is a request to the API. What is refused is said on the page."""

    service = pb.DESCRIPTOR.services_by_name["AccountPageService"]

    def __init__(self, account: AccountService, invitations: InvitationService) -> None:
        self._account = account
        self._invitations = invitations

    async def get_verify_email_page(
        self, request: pb.GetVerifyEmailPageRequest, context: RequestContext
    ) -> HttpBody:
        """One button."""
        return _html(verify_email_page())

    async def submit_verify_email_page(
        self, request: pb.SubmitVerifyEmailPageRequest, context: RequestContext
    ) -> HttpBody:
        """Prove the address."""
        return await _said(
            self._account.verify_email(VerifyEmailRequest(token=request.token), context),
            done_page("Address confirmed", "Thank you. You can close this page."),
            verify_email_page,
        )

    async def get_reset_password_page(
        self, request: pb.GetResetPasswordPageRequest, context: RequestContext
    ) -> HttpBody:
        """A field for the new password."""
        return _html(reset_password_page())

    async def submit_reset_password_page(
        self, request: pb.SubmitResetPasswordPageRequest, context: RequestContext
    ) -> HttpBody:
        """Set it."""
        return await _said(
            self._set_password(request, context),
            done_page("Password set", "Log in with it. All of your sessions have ended."),
            reset_password_page,
        )

    async def get_invitation_page(
        self, request: pb.GetInvitationPageRequest, context: RequestContext
    ) -> HttpBody:
        """Fields for name, password and code."""
        return _html(invitation_page())

    async def submit_invitation_page(
        self, request: pb.SubmitInvitationPageRequest, context: RequestContext
    ) -> HttpBody:
        """Join. The session that joining begins is not for the page: the person logs in."""
        return await _said(
            self._join(request, context),
            done_page("You are in", "Log in with your address and password."),
            invitation_page,
        )

    async def _set_password(
        self, request: pb.SubmitResetPasswordPageRequest, context: RequestContext
    ) -> None:
        password = _fields(request.body).get("password", "")
        await self._account.reset_password(
            ResetPasswordRequest(token=request.token, password=password), context
        )

    async def _join(self, request: pb.SubmitInvitationPageRequest, context: RequestContext) -> None:
        accepted = AcceptInvitationRequest(token=request.token, **_fields(request.body))
        await self._invitations.accept_invitation(accepted, context)


async def _said(act: Awaitable[object], done: bytes, again: Callable[[list[str]], bytes]) -> HttpBody:
    """The page for what became of an act: done, or once more with what was wrong."""
    try:
        await act
    except Unavailable:
        raise
    except InvalidRequest as refusal:
        return _html(again([_sentence(violation) for violation in refusal.violations]))
    except DomainError as refusal:
        return _html(again([refusal.message]))
    return _html(done)


def _sentence(violation: FieldViolation) -> str:
    subject = "The link" if violation.field == "token" else f"The {violation.field}"
    return f"{subject} {violation.message}."


def _fields(body: HttpBody) -> dict[str, str]:
    """The form's known fields; InvalidRequest for what is no form."""
    try:
        form = parse_qs(body.data.decode(), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        raise InvalidRequest(FieldViolation("body", "must be a form")) from None
    known = {name: form[name][0] for name in ("name", "password", "code") if name in form}
    for name, value in known.items():
        if len(value) > _LONGEST_VALUE:
            raise InvalidRequest(FieldViolation(name, f"must be at most {_LONGEST_VALUE} characters"))
    return known


def _html(page: bytes) -> HttpBody:
    return HttpBody(content_type=_HTML, data=page)
