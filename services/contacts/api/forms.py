"""FormService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.contacts.v1 import forms_pb2 as pb
from services.contacts import form_submissions, forms
from services.contacts.api.fields import ids_of, name_of
from services.contacts.custom_fields import read_fields
from services.contacts.form_pages import embeddable
from services.contacts.forms import Form, FormDraft, FormField


class FormApi:
    """Forms by which people subscribe themselves; `public_url` is where the gateway is reached from outside."""

    service = pb.DESCRIPTOR.services_by_name["FormService"]

    def __init__(self, public_url: str) -> None:
        self._prefix = f"{public_url.rstrip('/')}/f/"

    async def create_form(
        self, request: pb.CreateFormRequest, context: RequestContext, session: TenantSession
    ) -> pb.Form:
        """Create a form. NOT_FOUND for a list or tag that is not there."""
        return await self._as_message(session, await forms.create_form(session, _draft(request)))

    async def get_form(
        self, request: pb.GetFormRequest, context: RequestContext, session: TenantSession
    ) -> pb.Form:
        """The form, or NOT_FOUND."""
        return await self._as_message(session, await forms.get_form(session, parse_id(request.form_id)))

    async def list_forms(
        self, request: pb.ListFormsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListFormsResponse:
        """Forms, newest first."""
        size = page_size(request.page_size)
        found = await forms.page_forms(session, before=decode_cursor(request.page_token), size=size + 1)
        return pb.ListFormsResponse(
            forms=[await self._as_message(session, form) for form in found[:size]],
            next_page_token=next_cursor(found, size),
        )

    async def update_form(
        self, request: pb.UpdateFormRequest, context: RequestContext, session: TenantSession
    ) -> pb.Form:
        """Replace the form. NOT_FOUND for it, and for a list or tag that is not there."""
        replaced = await forms.replace_form(session, parse_id(request.form_id), _draft(request))
        return await self._as_message(session, replaced)

    async def delete_form(
        self, request: pb.DeleteFormRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete the form, or NOT_FOUND; contacts stay."""
        await forms.delete_form(session, parse_id(request.form_id))
        return Empty()

    async def list_form_submissions(
        self, request: pb.ListFormSubmissionsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListFormSubmissionsResponse:
        """What was submitted, newest first, or NOT_FOUND."""
        size = page_size(request.page_size)
        found = await form_submissions.page_submissions(
            session, parse_id(request.form_id), before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListFormSubmissionsResponse(
            submissions=map(_submission, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def _as_message(self, session: TenantSession, form: Form) -> pb.Form:
        url = f"{self._prefix}{form.id}"
        message = pb.Form(
            id=str(form.id),
            name=form.name,
            title=form.title,
            description=form.description,
            fields=[
                pb.FormField(key=field.key, label=field.label, required=field.required)
                for field in form.fields
            ],
            list_ids=map(str, form.list_ids),
            tag_ids=map(str, form.tag_ids),
            double_opt_in=form.double_opt_in,
            consent_text=form.consent_text,
            button_label=form.button_label,
            success_message=form.success_message,
            from_name=form.from_name,
            from_email=form.from_email,
            hosted_url=url,
            embed_html=embeddable(form, await read_fields(session), url),
        )
        message.created_at.FromDatetime(form.created_at)
        message.updated_at.FromDatetime(form.updated_at)
        return message


def _draft(request: pb.CreateFormRequest | pb.UpdateFormRequest) -> FormDraft:
    return FormDraft(
        name=name_of("name", request.name, required=True),
        title=request.title.strip(),
        description=request.description.strip(),
        fields=[FormField(field.key, field.label.strip(), field.required) for field in request.fields],
        list_ids=ids_of(request.list_ids),
        tag_ids=ids_of(request.tag_ids),
        double_opt_in=request.double_opt_in if request.HasField("double_opt_in") else True,
        consent_text=request.consent_text.strip(),
        button_label=request.button_label.strip(),
        success_message=request.success_message.strip(),
        from_name=request.from_name.strip(),
        from_email=request.from_email,
    )


def _submission(submission: form_submissions.Submission) -> pb.FormSubmission:
    message = pb.FormSubmission(
        id=str(submission.id), email=submission.email, contact_id=str(submission.contact_id or "")
    )
    message.submitted_at.FromDatetime(submission.created_at)
    if submission.confirmed_at is not None:
        message.confirmed_at.FromDatetime(submission.confirmed_at)
    return message
