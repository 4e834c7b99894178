"""FormPageService: the pages behind a form's address, and behind the link in its confirmation mail."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from chassis.logs import logger
from chassis.sealed_mail import SealedMails
from flownurture.contacts.v1 import form_pages_pb2 as pb
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.confirmation_mails import ConfirmationMails
from services.contacts.custom_fields import CustomField, parse_text, read_fields
from services.contacts.form_lookup import FormLookup
from services.contacts.form_pages import (
    HONEYPOT,
    check_inbox_page,
    confirm_page,
    form_page,
    full_page,
    subscribed_page,
    thanks_page,
)
from services.contacts.form_submissions import FilledIn, Next, confirm, get_submission, submit
from services.contacts.forms import NAMES, Form, get_form
from services.contacts.identity_peer import IdentityPeer
from services.contacts.names import parse_name
from services.contacts.usage import ContactLimitReached

_HTML = "text/html; charset=utf-8"
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
_LONGEST_EMAIL = 320


class FormPageApi:
    """Pages for anybody. What is wrong with what was filled in is said on the page."""

    service = pb.DESCRIPTOR.services_by_name["FormPageService"]

    def __init__(
        self,
        database: Database,
        lookup: FormLookup,
        links: ConfirmationLinks,
        identity: IdentityPeer,
        sealed: SealedMails,
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._links = links
        self._mails = ConfirmationMails(links, sealed)
        self._identity = identity

    async def get_form_page(self, request: pb.GetFormPageRequest, context: RequestContext) -> HttpBody:
        """The form, or NOT_FOUND."""
        form_id = parse_id(request.form_id)
        within = await self._lookup.context_of(form_id, context.request_id)
        async with self._database.tenant_transaction(within, read_only=True) as session:
            return _html(form_page(await get_form(session, form_id), await read_fields(session)))

    async def submit_form(self, request: pb.SubmitFormRequest, context: RequestContext) -> HttpBody:
        """Take a filled-in form: once more with what is wrong, or what is left to do. RATE_LIMITED."""
        form_id, filled_in = parse_id(request.form_id), _filled_in(request.body)
        within = await self._lookup.context_of(form_id, context.request_id)
        within = await self._identity.with_limits(within)
        async with self._database.tenant_transaction(within, read_only=True) as session:
            form, fields = await get_form(session, form_id), await read_fields(session)
        if filled_in.get(HONEYPOT):
            logger().info("honeypot_filled_in", form_id=str(form_id))
            return _html(_accepted(form))
        wrong: dict[str, str] = {}
        submitted = _read(form, fields, filled_in, context.client_address, wrong)
        if submitted is None:
            return _html(form_page(form, fields, filled_in, wrong))
        try:
            async with self._database.tenant_transaction(within) as session:
                await self._submit(session, form, submitted)
        except ContactLimitReached:
            return _html(full_page(form))
        return _html(_accepted(form))

    async def get_confirm_page(self, request: pb.GetConfirmPageRequest, context: RequestContext) -> HttpBody:
        """A page with one button; it changes nothing, since scanners follow links. NOT_FOUND for a forged link."""
        within, submission_id = self._links.open(request.token)
        async with self._database.tenant_transaction(within, read_only=True) as session:
            form, submission = await get_submission(session, submission_id)
        return _html(confirm_page(form, submission.email))

    async def confirm_submission(
        self, request: pb.ConfirmSubmissionRequest, context: RequestContext
    ) -> HttpBody:
        """Subscribe: committed before it answers, once however often it is asked. NOT_FOUND for a forged link."""
        within, submission_id = self._links.open(request.token)
        within = await self._identity.with_limits(within)
        try:
            async with self._database.tenant_transaction(within) as session:
                form = await confirm(session, submission_id, context.client_address)
        except ContactLimitReached:
            async with self._database.tenant_transaction(within, read_only=True) as session:
                form, _ = await get_submission(session, submission_id)
            return _html(full_page(form))
        return _html(subscribed_page(form))

    async def _submit(self, session: TenantSession, form: Form, filled_in: FilledIn) -> None:
        left, submission = await submit(session, form, filled_in)
        if left is Next.CONFIRM and submission is not None:
            await self._mails.order(session, form, submission)


def _accepted(form: Form) -> bytes:
    """The same page for every address, known or not."""
    return check_inbox_page(form) if form.double_opt_in else thanks_page(form)


def _filled_in(body: HttpBody) -> dict[str, str]:
    """The fields of a form as browsers send it. Raises InvalidRequest for anything else."""
    if body.content_type.partition(";")[0].strip().lower() != _FORM:
        raise InvalidRequest(FieldViolation("body", f"must be {_FORM}"))
    try:
        pairs = parse_qsl(
            body.data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise InvalidRequest(FieldViolation("body", "is not a form that a browser sent")) from None
    return dict(pairs)


def _read(
    form: Form,
    fields: Mapping[str, CustomField],
    filled_in: Mapping[str, str],
    client_address: str,
    wrong: dict[str, str],
) -> FilledIn | None:
    """What was filled in as the domain takes it; None, and what is wrong by name, when it cannot."""
    email: EmailAddress | None = None
    try:
        email = _email(filled_in.get("email", ""))
    except ValueError as error:
        wrong["email"] = str(error)
    names: dict[str, str] = {}
    values: dict[str, object] = {}
    for asked in form.fields:
        given = filled_in.get(asked.key, "").strip()
        try:
            if not given and asked.required:
                raise ValueError("is needed")  # noqa: TRY301 - told like what else is wrong
            if asked.key in NAMES:
                names[asked.key] = parse_name(given)
            elif asked.key in fields and (value := parse_text(fields[asked.key], given)) is not None:
                values[str(fields[asked.key].number)] = value
        except ValueError as error:
            wrong[asked.key] = str(error)
    if email is None or wrong:
        return None
    return FilledIn(email, names.get("first_name", ""), names.get("last_name", ""), values, client_address)


def _email(text: str) -> EmailAddress:
    if not text.strip():
        raise ValueError("is needed")
    if len(text) > _LONGEST_EMAIL:
        raise ValueError(f"may have at most {_LONGEST_EMAIL} characters")
    try:
        return EmailAddress.parse(text)
    except ValueError:
        raise ValueError("is not an e-mail address") from None


def _html(page: bytes) -> HttpBody:
    return HttpBody(content_type=_HTML, data=page)
