"""Forms: who fills one in becomes a contact by their own click, and nobody by somebody else's."""

import asyncio
import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.context import ActorKind, RequestContext
from chassis.database import RoleDatabase
from chassis.email_address import EmailAddress
from chassis.errors import InvalidRequest, NotFound, PermissionDenied, RateLimited, Unavailable
from chassis.identifiers import new_id
from chassis.retention import Forgetting
from chassis.sealed_mail import SealedMails
from chassis.vault.file_wrapping import FileWrapping
from flownurture.contacts.v1 import contacts_pb2, events_pb2, form_pages_pb2, tags_pb2
from flownurture.contacts.v1 import forms_pb2 as pb
from flownurture.sending.v1.messages_pb2 import (
    SUPPRESSION_REASON_COMPLAINT,
    SUPPRESSION_REASON_UNSUBSCRIBE,
)
from services.contacts.form_pages import HONEYPOT
from services.contacts.form_retention import UNCONFIRMED
from services.contacts.form_submissions import MOST_MAILS, MOST_SUBMISSIONS
from services.contacts.tests.plan import Plan
from services.contacts.tests.tenant import MAIL_KEYS, Tenant

ADA = "ada@example.com"
CONSENT = "I want the <b>newsletter</b>, once a month."
HERE = "203.0.113.7"


class Visitor:
    """Somebody without a credential, at an address."""

    def __init__(self, tenant: Tenant, address: str = HERE) -> None:
        self._browser = tenant.called_by(tenant.peer)
        self._browser.context = RequestContext(
            issuer="gateway", actor_kind=ActorKind.ANONYMOUS, request_id=str(new_id()), client_address=address
        )

    async def see(self, form: pb.Form) -> str:
        page = await self._browser(form_pages_pb2.GetFormPageRequest(form_id=form.id))
        return str(page.data.decode())

    async def submit(self, form: pb.Form, **fields: str) -> str:
        body = HttpBody(content_type="application/x-www-form-urlencoded", data=urlencode(fields).encode())
        page = await self._browser(form_pages_pb2.SubmitFormRequest(form_id=form.id, body=body))
        return str(page.data.decode())

    async def send(self, form_id: str, content_type: str, data: bytes) -> Any:
        body = HttpBody(content_type=content_type, data=data)
        return await self._browser(form_pages_pb2.SubmitFormRequest(form_id=form_id, body=body))

    async def open(self, token: str) -> str:
        page = await self._browser(form_pages_pb2.GetConfirmPageRequest(token=token))
        return str(page.data.decode())

    async def confirm(self, token: str) -> str:
        page = await self._browser(form_pages_pb2.ConfirmSubmissionRequest(token=token))
        return str(page.data.decode())


async def make_form(tenant: Tenant, **changes: Any) -> pb.Form:
    """A form for a list."""
    content = {"name": "Blog", "consent_text": CONSENT, "from_email": "news@shop.test"}
    lists = changes.pop("list_ids", None) or [(await tenant.add_list()).id]
    form: pb.Form = await tenant(pb.CreateFormRequest(**{**content, "list_ids": lists, **changes}))
    return form


async def mails(tenant: Tenant) -> list[events_pb2.SendConfirmationMail]:
    return [event for event in await tenant.published() if isinstance(event, events_pb2.SendConfirmationMail)]


async def token_of(tenant: Tenant) -> str:
    """What the last confirmation mail's link ends in, opened as the delivery process does."""
    order_type = events_pb2.SendConfirmationMail
    last = [each for each in await tenant.envelopes() if each.type == order_type.DESCRIPTOR.full_name][-1]
    order = order_type.FromString(last.payload)
    body = await SealedMails(FileWrapping(MAIL_KEYS)).open(order.sealed_body, UUID(last.id), order.to)
    link = re.search(r"/f/confirm/([\w-]+)", body.text)
    assert link is not None
    return link[1]


@pytest.fixture
def ada(tenant: Tenant) -> Visitor:
    return Visitor(tenant)


async def test_a_form_is_read_as_it_was_made_and_replaced_as_a_whole(tenant: Tenant) -> None:
    await tenant.declare("city", "text")
    form = await make_form(
        tenant,
        fields=[
            pb.FormField(key="first_name", required=True),
            pb.FormField(key="city", label="Where you live"),
        ],
    )
    assert form.double_opt_in
    assert (form.title, form.button_label) == ("Blog", "Subscribe")
    assert [(field.key, field.label) for field in form.fields] == [
        ("first_name", "First name"),
        ("city", "Where you live"),
    ]
    assert form.hosted_url.endswith(f"/f/{form.id}")
    assert await tenant(pb.GetFormRequest(form_id=form.id)) == form
    assert list((await tenant(pb.ListFormsRequest())).forms) == [form]
    replaced = await tenant(
        pb.UpdateFormRequest(
            form_id=form.id,
            name="Shop",
            list_ids=form.list_ids,
            consent_text="Yes",
            from_email="shop@shop.test",
            double_opt_in=False,
        )
    )
    assert (replaced.name, list(replaced.fields), replaced.double_opt_in) == ("Shop", [], False)
    assert replaced.hosted_url == form.hosted_url
    await tenant(pb.DeleteFormRequest(form_id=form.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetFormRequest(form_id=form.id))


async def test_a_form_asks_only_for_what_is_declared_and_once(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await make_form(
            tenant,
            fields=[pb.FormField(key=key) for key in ("first_name", "shoe_size", "first_name")],
        )
    assert [violation.field for violation in refused.value.violations] == ["fields[1].key", "fields[2].key"]


async def test_a_form_leads_only_to_what_its_organization_has(tenant: Tenant, stranger: Tenant) -> None:
    theirs = await stranger.add_list()
    await stranger.add(ADA, tags=["vip"])
    (tag,) = (await stranger(tags_pb2.ListTagsRequest())).tags
    own = await tenant.add_list()
    with pytest.raises(NotFound):
        await make_form(tenant, list_ids=[theirs.id])
    with pytest.raises(NotFound):
        await make_form(tenant, list_ids=[own.id], tag_ids=[tag.id])
    form = await make_form(tenant)
    for request in (
        pb.GetFormRequest(form_id=form.id),
        pb.DeleteFormRequest(form_id=form.id),
        pb.ListFormSubmissionsRequest(form_id=form.id),
    ):
        with pytest.raises(NotFound):
            await stranger(request)


async def test_who_submits_a_form_is_a_contact_once_they_have_confirmed(tenant: Tenant, ada: Visitor) -> None:
    await tenant.declare("city", "text")
    await tenant.add("x@example.com", tags=["blog"])
    (tag,) = (await tenant(tags_pb2.ListTagsRequest())).tags
    fields = [pb.FormField(key="first_name"), pb.FormField(key="city")]
    form = await make_form(tenant, fields=fields, tag_ids=[tag.id], success_message="Welcome!")
    assert "Please check your inbox" in await ada.submit(form, email=ADA, first_name="Ada", city="London")
    assert ADA not in await tenant.everybody()
    token = await token_of(tenant)
    # A scanner opens the link as often as it likes.
    for _ in range(3):
        page = await ada.open(token)
        assert '<form method="post">' in page
        assert ADA in page
    assert ADA not in await tenant.everybody()
    for _ in range(3):
        assert "Welcome!" in await Visitor(tenant, "2001:db8::1").confirm(token)
    contact = (await tenant.everybody())[ADA]
    assert contact.status == contacts_pb2.CONTACT_STATUS_SUBSCRIBED
    assert (contact.first_name, contact.custom_fields["city"], list(contact.tags)) == (
        "Ada",
        "London",
        ["blog"],
    )
    assert list(contact.list_ids) == list(form.list_ids)
    told = [event for event in await tenant.published() if isinstance(event, events_pb2.FormSubmitted)]
    assert [event.contact for event in told] == [contact]
    (submission,) = (await tenant(pb.ListFormSubmissionsRequest(form_id=form.id))).submissions
    assert (submission.email, submission.contact_id) == (ADA, contact.id)


async def test_the_ledger_says_who_agreed_to_what_when_and_from_where(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    await Visitor(tenant, "2001:db8::1").confirm(await token_of(tenant))
    contact = (await tenant.everybody())[ADA]
    ledger = (await tenant(contacts_pb2.ListContactConsentsRequest(contact_id=contact.id))).consents
    confirmed, submitted, subscribed = ledger
    assert [each.type for each in ledger] == [
        contacts_pb2.CONTACT_EVENT_TYPE_CONFIRMED,
        contacts_pb2.CONTACT_EVENT_TYPE_FORM_SUBMITTED,
        contacts_pb2.CONTACT_EVENT_TYPE_SUBSCRIBED,
    ]
    assert submitted.text == confirmed.text == CONSENT
    assert (submitted.client_address, confirmed.client_address) == (HERE, "2001:db8::1")
    assert {each.source_id for each in (confirmed, submitted, subscribed)} == {form.id}
    assert submitted.occurred_at.ToDatetime() < confirmed.occurred_at.ToDatetime()


async def test_without_double_opt_in_one_step_is_enough(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant, double_opt_in=False)
    assert "Thank you" in await ada.submit(form, email=ADA)
    assert (await tenant.everybody())[ADA].status == contacts_pb2.CONTACT_STATUS_SUBSCRIBED
    assert await mails(tenant) == []


@pytest.mark.parametrize("double_opt_in", [True, False])
async def test_who_has_opted_out_comes_back_by_their_own_click_alone(
    tenant: Tenant, ada: Visitor, double_opt_in: bool
) -> None:
    form = await make_form(tenant, double_opt_in=double_opt_in)
    contact = await tenant.add(ADA)
    fresh = await ada.submit(form, email="new@example.com")
    await tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    # Nothing that is shown tells the one from the other.
    assert await ada.submit(form, email=ADA) == fresh
    assert (await mails(tenant))[-1].to == ADA
    assert (await tenant.everybody())[ADA].status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED
    assert not [
        event for event in await tenant.published() if isinstance(event, events_pb2.AddressResubscribed)
    ]
    await ada.confirm(await token_of(tenant))
    (back,) = [
        event for event in await tenant.published() if isinstance(event, events_pb2.AddressResubscribed)
    ]
    assert (back.contact_id, back.form_id) == (contact.id, form.id)
    assert back.email_digest == EmailAddress.parse(ADA).digest
    # The list decides, and tells.
    assert (await tenant.everybody())[ADA].status == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED
    await tenant.lift(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    assert (await tenant.everybody())[ADA].status == contacts_pb2.CONTACT_STATUS_SUBSCRIBED
    ledger = (await tenant(contacts_pb2.ListContactConsentsRequest(contact_id=contact.id))).consents
    assert contacts_pb2.CONTACT_EVENT_TYPE_RESUBSCRIBED in {each.type for each in ledger}


async def test_a_complaint_is_not_taken_back_by_a_form(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant)
    await tenant.add(ADA)
    await tenant.suppress(ADA, SUPPRESSION_REASON_COMPLAINT)
    await ada.submit(form, email=ADA)
    await ada.confirm(await token_of(tenant))
    assert (await tenant.everybody())[ADA].status == contacts_pb2.CONTACT_STATUS_COMPLAINED
    assert not [
        event for event in await tenant.published() if isinstance(event, events_pb2.AddressResubscribed)
    ]


async def test_what_is_wrong_is_said_beside_what_was_filled_in_and_nothing_is_kept(
    tenant: Tenant, ada: Visitor
) -> None:
    await tenant.declare("age", "number")
    await tenant.declare("color", "choice", "red", "green")
    await tenant.declare("news", "boolean")
    fields = [
        pb.FormField(key="first_name", required=True),
        pb.FormField(key="age"),
        pb.FormField(key="color", label="Colour"),
        pb.FormField(key="news", required=True),
    ]
    form = await make_form(tenant, fields=fields)
    page = await ada.submit(form, email="no<script>", age="old", color="pink", first_name="")
    for wrong in (
        "E-mail address</a>: is not an e-mail address",
        "First name</a>: is needed",
        "age</a>: must be a number",
        "Colour</a>: must be one of: red, green",
        "news</a>: is needed",
    ):
        assert wrong in page
    assert 'value="no&lt;script&gt;"' in page
    assert 'value="old"' in page
    assert "<script" not in page
    assert await tenant.count("form_submissions") == 0
    assert await mails(tenant) == []


async def test_what_an_organization_writes_is_text_and_nothing_else(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(
        tenant, title="<script>alert(1)</script>", description='"><img src=x>', button_label="<b>Go</b>"
    )
    page = await ada.see(form)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;b&gt;newsletter&lt;/b&gt;" in page
    assert unescape(CONSENT) in unescape(page)
    assert "<b>" not in form.embed_html
    assert f'action="{form.hosted_url}"' in form.embed_html
    assert HONEYPOT in form.embed_html


async def test_a_program_that_fills_in_everything_changes_nothing_and_learns_nothing(
    tenant: Tenant, ada: Visitor
) -> None:
    form = await make_form(tenant)
    honest = await ada.submit(form, email="honest@example.com")
    assert await ada.submit(form, email=ADA, **{HONEYPOT: "https://spam.test"}) == honest
    assert await tenant.count("form_submissions") == 1


async def test_one_client_submits_so_often_and_no_more_however_parallel(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant)
    tries = [ada.submit(form, email=f"r{number}@example.com") for number in range(MOST_SUBMISSIONS + 6)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 6
    assert await tenant.count("form_submissions") == MOST_SUBMISSIONS
    # Somebody else is let in.
    await Visitor(tenant, "198.51.100.1").submit(form, email=ADA)


async def test_an_address_gets_so_many_mails_a_day_and_no_more(tenant: Tenant) -> None:
    form = await make_form(tenant)
    pages = await asyncio.gather(
        *(Visitor(tenant, f"198.51.100.{number}").submit(form, email=ADA) for number in range(MOST_MAILS + 5))
    )
    assert len(set(pages)) == 1
    assert len(await mails(tenant)) == MOST_MAILS


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/json", b"{}"),
        ("", b"email=ada%40example.com"),
        ("multipart/form-data; boundary=b", b"--b--"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"a=1&" * 200),
        ("application/x-www-form-urlencoded", b"email=%FF%FE"),
    ],
)
async def test_what_no_browser_sends_is_refused(
    tenant: Tenant, ada: Visitor, content_type: str, data: bytes
) -> None:
    form = await make_form(tenant)
    with pytest.raises(InvalidRequest):
        await ada.send(form.id, content_type, data)


@pytest.mark.parametrize("data", [b"", b"email", b"email=a&email=b", b"email=%00", b"email=" + b"x" * 60_000])
async def test_any_form_is_answered_with_a_page(tenant: Tenant, ada: Visitor, data: bytes) -> None:
    form = await make_form(tenant)
    page = await ada.send(form.id, "application/x-www-form-urlencoded; charset=utf-8", data)
    assert b"Please have another look" in page.data


async def test_forged_and_foreign_links_open_nothing(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    token = await token_of(tenant)
    for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[1:], "x", token + "A"):
        for act in (ada.open, ada.confirm):
            with pytest.raises(NotFound):
                await act(forged)
    with pytest.raises(NotFound):
        await ada.see(pb.Form(id=str(new_id())))


async def test_a_full_organization_takes_nobody_and_loses_nobody(
    tenant: Tenant, ada: Visitor, plan: Plan
) -> None:
    plan.allow(tenant.context.organization, 1)
    form = await make_form(tenant)
    at_once = await make_form(tenant, double_opt_in=False)
    await tenant.add("first@example.com")
    await ada.submit(form, email=ADA)
    assert "try again tomorrow" in await ada.confirm(await token_of(tenant))
    assert "try again tomorrow" in await ada.submit(at_once, email="eve@example.com")
    assert list(await tenant.everybody()) == ["first@example.com"]
    plan.allow(tenant.context.organization, 2)
    assert "You are subscribed" in await ada.confirm(await token_of(tenant))
    assert ADA in await tenant.everybody()


async def test_what_the_plan_allows_is_never_guessed(tenant: Tenant, ada: Visitor, plan: Plan) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    plan.down = True
    try:
        with pytest.raises(Unavailable):
            await ada.confirm(await token_of(tenant))
    finally:
        plan.down = False
    await ada.confirm(await token_of(tenant))
    assert ADA in await tenant.everybody()


async def test_a_suspended_organization_takes_nobody_in(tenant: Tenant, ada: Visitor, plan: Plan) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    plan.suspended.add(tenant.context.organization)
    for act in (ada.submit(form, email="eve@example.com"), ada.confirm(await token_of(tenant))):
        with pytest.raises(PermissionDenied) as refused:
            await act
        assert refused.value.reason == "ORGANIZATION_SUSPENDED"
    assert await tenant.everybody() == {}
    assert len(await mails(tenant)) == 1


async def test_a_list_that_is_gone_by_then_stops_nobody(tenant: Tenant, ada: Visitor) -> None:
    kept, gone = await tenant.add_list(), await tenant.add_list()
    form = await make_form(tenant, list_ids=[kept.id, gone.id])
    await ada.submit(form, email=ADA)
    await tenant.execute(f"DELETE FROM lists WHERE id = '{gone.id}'")
    await ada.confirm(await token_of(tenant))
    assert list((await tenant.everybody())[ADA].list_ids) == [kept.id]


async def test_what_nobody_confirms_is_forgotten_after_a_month(
    tenant: Tenant, ada: Visitor, scheduler: RoleDatabase
) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    await ada.confirm(await token_of(tenant))
    for number in range(2):
        await ada.submit(form, email=f"late{number}@example.com")
    old = timedelta(days=30, minutes=1)
    await tenant.execute(
        f"UPDATE form_submissions SET created_at = now() - interval '{old.total_seconds()} seconds'"
        f" WHERE email <> 'late1@example.com'"
    )
    await Forgetting(scheduler, UNCONFIRMED).round()
    left = (await tenant(pb.ListFormSubmissionsRequest(form_id=form.id))).submissions
    assert {submission.email for submission in left} == {ADA, "late1@example.com"}


async def test_who_is_erased_is_in_no_submission(tenant: Tenant, ada: Visitor) -> None:
    form = await make_form(tenant)
    await ada.submit(form, email=ADA)
    await ada.confirm(await token_of(tenant))
    await ada.submit(form, email=ADA)
    contact = (await tenant.everybody())[ADA]
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact.id))
    assert await tenant.count("form_submissions") == await tenant.count("consent_addresses") == 0
    # What happened stays, without a word of who it was.
    assert await tenant.count("contact_events") > 0
