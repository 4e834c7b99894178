"""Any content makes a mail that readers read as it was meant, and nothing more than that."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.sending.delivery.mime import Content, skeleton, wire_form

URL = "https://mail.test/u/" + "aZ0-_" * 40
# What PostgreSQL's text holds and the contract lets in.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300)


def received(content: Content, *, links: bool = True, to: str = "reader@example.com") -> EmailMessage:
    raw = skeleton(content, links=links).mail(
        to=to, message_id=uuid4(), hostname="mail.test", unsubscribe_url=URL if links else ""
    )
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = message_from_bytes(raw, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


@given(words, words, words, words, st.booleans())
def test_any_content_arrives_as_it_was_written(
    name: str, subject: str, html: str, text: str, links: bool
) -> None:
    mail = received(Content(name, "ada@shop.test", subject, html, text), links=links)
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
    mail = received(Content(evil, "ada@shop.test", evil, "<p>x</p>", "x"))
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hi Bcc: victim@example.com body"
    assert mail["From"].addresses[0].addr_spec == "ada@shop.test"


def test_emoji_and_long_subjects_come_through() -> None:
    subject = "Sommerschlußverkauf 👩‍👩‍👧 " * 20
    mail = received(Content("Zoë", "ada@shop.test", subject, "<p>x</p>", "x"))
    assert mail["Subject"] == " ".join(subject.split())
    assert mail["From"].addresses[0].display_name == "Zoë"


def test_a_domain_goes_in_ascii_where_the_mailbox_is() -> None:
    assert wire_form("ada@bücher.example") == "ada@xn--bcher-kva.example"
    assert wire_form("zoë@example.com") == "zoë@example.com"
