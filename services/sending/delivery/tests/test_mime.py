"""Any content makes a mail that readers read as it was meant, and nothing more than that."""

import quopri
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from chassis.errors import InvalidRequest
from services.sending.delivery.headers import one_line
from services.sending.delivery.mime import Addressee, Sender, Skeleton, wire_form
from services.sending.delivery.quoted_printable import joined, quoted
from services.sending.opt_out_footer import OptingOut
from services.sending.templating.mailing import Mailing, compile_mailing

URL = "https://mail.test/u/" + "aZ0-_" * 40
WAYS = OptingOut(URL, "https://mail.test/p/x", "leave@mail.test")
FOOTER = f'<p style="font-size:small"><a href="{URL}">Unsubscribe</a> · <a href="https://mail.test/p/x">Preferences</a></p>'
TEXT_FOOTER = f"\n\n-- \nUnsubscribe: {URL}\nPreferences: https://mail.test/p/x\n"
# What PostgreSQL's text holds and the contract lets in.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300)


def received(
    mailing: Mailing,
    *,
    name: str = "Ada",
    links: bool = True,
    to: str = "reader@example.com",
    data: Mapping[str, object] | None = None,
) -> EmailMessage:
    url = URL if links else ""
    data = {"unsubscribe_url": url, "contact": data or {}}
    raw = (
        Skeleton(Sender(name, "ada@shop.test"), mailing, "mail.test")
        .mail(Addressee(uuid4(), to, data, WAYS if links else None))
        .content
    )
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    # RFC 5322 bounds all lines, RFC 2045 those of the bodies more narrowly.
    header, _, bodies = raw.partition(b"\r\n\r\n")
    assert max(map(len, header.split(b"\r\n"))) <= 998
    assert max(map(len, bodies.split(b"\r\n"))) <= 76
    mail = message_from_bytes(raw, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def written(html: str, text: str = "Hi", subject: str = "News") -> Mailing:
    mailing, _ = compile_mailing(subject, html, text)
    return mailing


@given(words, words, words, words, st.booleans())
def test_any_content_arrives_as_it_was_written(
    name: str, subject: str, html: str, text: str, links: bool
) -> None:
    # Of what a footer would not be seen behind, no mail is made.
    html = str(escape(html)) if links else html
    mail = received(Mailing.verbatim(subject, html, text), name=name, links=links)
    expected = {"To", "Message-ID", "Date", "From", "Subject", "MIME-Version", "Content-Type"}
    expected |= {"List-Unsubscribe", "List-Unsubscribe-Post"} if links else set()
    assert sorted(mail.keys()) == sorted(expected)
    plain, rich = mail.iter_parts()
    assert lines(plain.get_content()).startswith(lines(text))
    if links:
        assert URL in plain.get_content()
        assert f'<a href="{URL}">Unsubscribe</a>' in rich.get_content()
    else:
        assert lines(rich.get_content()).startswith(lines(html))


def lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_no_header_can_be_smuggled_in() -> None:
    evil = "Hi\r\nBcc: victim@example.com\r\n\r\nbody"
    mail = received(Mailing.verbatim(evil, "<p>x</p>", "x"), name=evil)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hi Bcc: victim@example.com body"
    assert mail["From"].addresses[0].addr_spec == "ada@shop.test"


def test_emoji_and_long_subjects_come_through() -> None:
    subject = "Sommerschlußverkauf 👩‍👩‍👧 " * 20
    mail = received(Mailing.verbatim(subject, "<p>x</p>", "x"), name="Zoë")
    assert mail["Subject"] == " ".join(subject.split())
    assert mail["From"].addresses[0].display_name == "Zoë"


def test_a_subject_that_a_template_makes_too_long_makes_no_mail() -> None:
    mailing = written("<p>x</p>", subject="{% for i in (1..100) %}{{ contact.first_name }}{% endfor %}")
    assert received(mailing, data={"first_name": "Ada"})["Subject"] == "Ada" * 100
    with pytest.raises(InvalidRequest) as refused:
        received(mailing, data={"first_name": "Ada Lovelace"})
    assert refused.value.message == (
        "The mail cannot be sent. subject has 1,200 characters in this mail, and may have 998"
    )


def test_a_domain_goes_in_ascii_where_the_mailbox_is() -> None:
    assert wire_form("ada@bücher.example") == "ada@xn--bcher-kva.example"
    assert wire_form("zoë@example.com") == "zoë@example.com"


@given(st.lists(words | st.text("ab =.\n", max_size=160), max_size=8))
def test_pieces_that_are_encoded_apart_are_one_text(pieces: list[str]) -> None:
    encoded = joined(list(map(quoted, pieces)))
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
    expected = "".join(map(lines, pieces))
    assert quopri.decodestring(encoded.replace(b"\r\n", b"\n")).decode() == expected


@given(words, words)
def test_what_a_template_says_of_a_contact_arrives(first: str, last: str) -> None:
    source = "Dear {{ contact.first_name }} {{ contact.last_name }},\n\nhello"
    mail = received(
        written("<p>{{ contact.first_name }}</p>", source, "Hi {{ contact.first_name }}"),
        data={"first_name": first, "last_name": last},
    )
    plain, rich = mail.iter_parts()
    assert lines(plain.get_content()).startswith(f"Dear {lines(first)} {lines(last)},\n\nhello")
    assert lines(rich.get_content()).startswith(f"<p>{lines(str(escape(first)))}</p>")
    assert mail["Subject"] == one_line(f"Hi {first}")


def test_whoever_can_opt_out_finds_the_link_once() -> None:
    plain, rich = received(written("<html><body><p>Hi</p></BODY></html>")).iter_parts()
    assert lines(plain.get_content()).endswith(f"Hi{TEXT_FOOTER}")
    assert rich.get_content().endswith(f"{FOOTER}</BODY></html>")
    own = '<body><a href="{{ unsubscribe_url }}">Bye</a></body>'
    plain, rich = received(written(own, "Leave: {{ unsubscribe_url }}")).iter_parts()
    assert rich.get_content() == f'<body><a href="{URL}">Bye</a></body>'
    assert plain.get_content() == f"Leave: {URL}"


def test_a_link_that_a_template_leaves_out_for_somebody_is_added_for_them() -> None:
    mailing = written(
        "{% if contact.first_name %}<a href='{{ unsubscribe_url }}'>Bye</a>{% endif %}<p>Hi</p>"
    )
    for contact in ({"first_name": "Ada"}, {}):
        _, rich = received(mailing, data=contact).iter_parts()
        assert rich.get_content().count(URL) == 1
