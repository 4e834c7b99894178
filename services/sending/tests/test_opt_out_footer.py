"""Whoever gets a campaign's mail sees how to opt out, whatever its template says, or gets none."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chassis.errors import InvalidRequest
from flownurture.sending.v1 import campaigns_pb2
from services.sending.delivery.mime import Addressee, Sender, Skeleton
from services.sending.delivery.worker import Worker
from services.sending.opt_out_footer import OptingOut, require_way_out
from services.sending.templating.mailing import Mailing, compile_mailing
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.visible_links import shown_in_html, shown_in_text

HIDDEN = [
    "<p>Hi</p><!-- ",
    "<div style='display:none'>",
    "<div hidden><p>{{ contact.first_name }}</p>",
    "<style>p { color: red }",
    "<textarea>",
    "<p title='",
    "<body>Hi<!-- </body> -->",
    "<template><a href='{{ unsubscribe_url }}'>Leave</a>",
]
SHOWN = [
    "<p>Hi</p>",
    "<body><p>Hi</p></body>",
    "<!-- <a href='{{ unsubscribe_url }}'>Leave</a> --><p>Hi</p>",
    "<p style='display:none'><a href='{{ unsubscribe_url }}'>Leave</a></p>",
    "<img alt='{{ unsubscribe_url }}'>",
    "{% if contact.first_name == 'nobody' %}<a href='{{ unsubscribe_url }}'>Leave</a>{% endif %}",
    "{% assign u = unsubscribe_url %}{% capture link %}<a href='{{ u }}'>Leave</a>{% endcapture %}{{ link }}",
    "<a href='{{ unsubscribe_url }}'></a>",
]


def ways(person: str) -> OptingOut:
    return OptingOut(f"https://mail.test/u/{person}", f"https://mail.test/p/{person}", "leave@mail.test")


def mailing_of(html: str, text: str = "Hi") -> Mailing:
    return compile_mailing("News", html, text)[0]


def bodies(skeleton: Skeleton, contact: dict[str, Any], way: OptingOut) -> Iterator[str]:
    """The text and the HTML that somebody reads."""
    data = {
        "contact": contact,
        "campaign": {"name": "News"},
        "unsubscribe_url": way.url,
        "preferences_url": way.preferences_url,
    }
    raw = skeleton.mail(Addressee(uuid4(), "reader@example.com", data, way)).content
    return (part.get_content() for part in message_from_bytes(raw, policy=policy.default).iter_parts())


@pytest.mark.parametrize("html", HIDDEN)
async def test_a_campaign_that_hides_how_to_opt_out_cannot_be_launched(tenant: Tenant, html: str) -> None:
    draft = await tenant.draft("reader@example.com", html=html, text="Hi")
    with pytest.raises(InvalidRequest) as refused:
        await tenant(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    assert [violation.field for violation in refused.value.violations] == ["html"]
    kept = await tenant(campaigns_pb2.GetCampaignRequest(campaign_id=draft.id))
    assert kept.status == campaigns_pb2.CAMPAIGN_STATUS_DRAFT


@pytest.mark.parametrize("html", SHOWN)
def test_who_writes_no_link_that_is_seen_gets_a_footer_with_one(html: str) -> None:
    require_way_out(mailing_of(html))
    text, rich = bodies(
        Skeleton(Sender("Ada", "ada@shop.test"), mailing_of(html), "mail.test"), {}, ways("a")
    )
    assert shown_in_html(rich, "https://mail.test/u/a")
    assert shown_in_text(text, "https://mail.test/u/a")


async def test_who_alone_would_not_see_it_alone_gets_no_mail(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    html = "<p>Hi</p>{% if contact.email == 'two@example.com' %}<!-- {% endif %}"
    campaign = await tenant.launch("one@example.com", "two@example.com", "three@example.com", html=html)
    await tenant.deliver(worker)
    assert relay.handed_over.keys() == {"one@example.com", "three@example.com"}
    assert await tenant.statuses() == {
        "one@example.com": "sent",
        "two@example.com": "failed",
        "three@example.com": "sent",
    }
    assert (await tenant.report(campaign)).failed == 1
    [row] = await tenant.rows("SELECT smtp_reply FROM messages WHERE status = 'failed'")
    assert "opt out" in row.smtp_reply


values = st.sampled_from(["Ada", "", "--></div>", "<!--", "hidden", "display:none", '"><p hidden>', "O'Hara"])
marks = st.sampled_from(
    [
        "{{ unsubscribe_url }}", "<a href='{{ unsubscribe_url }}'>", '<a href="{{ unsubscribe_url }}">', "</a>",
        "{{ preferences_url }}", "{{ contact.first_name }}", "{{ contact.first_name | safe }}", "{{ contact.custom_fields.a }}",
        "<!--", "-->", "<div hidden>", "<p style='display:none'>", '<p title="', "<p class=", '">', ">", "</p>", "</div>", "<body>", "</body>",
        "<table>", "<td>", "</td>", "</span>", "<span>", "<b hidden>", "</b>", "<ul>", "<li hidden>", "</li>", "<form>", "</form>",
        "<style>", "</style>", "<img src='x'>", "Leave", " ", "<b>", "\n",
    ]
)  # fmt: skip
sources = st.recursive(
    marks,
    lambda inner: (
        st.lists(inner, max_size=6).map("".join)
        | inner.map("{{% if contact.first_name == 'Ada' %}}{}{{% endif %}}".format)
        | inner.map("{{% capture x %}}{}{{% endcapture %}}{{{{ x }}}}".format)
    ),
    max_leaves=14,
)


@settings(max_examples=150, deadline=None)
@given(
    html=st.lists(sources, max_size=4).map("".join),
    text=sources,
    people=st.lists(st.tuples(values, values), min_size=1, max_size=4),
)
def test_in_every_mail_that_is_made_of_any_template_the_link_is_seen(
    html: str, text: str, people: list[tuple[str, str]]
) -> None:
    skeleton = Skeleton(Sender("Ada", "ada@shop.test"), mailing_of(html, text), "mail.test")
    for number, (name, field) in enumerate(people):
        way = ways(f"person{number}")
        try:
            plain, rich = bodies(skeleton, {"first_name": name, "custom_fields": {"a": field}}, way)
        except InvalidRequest:
            event("refused")
            continue
        event("made")
        assert shown_in_html(rich, way.url)
        assert shown_in_text(plain, way.url)
