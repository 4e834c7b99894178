"""What of a campaign's HTML is tracked, and that nothing else of it changes."""

from base64 import b64encode
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidRequest
from chassis.secret import Secret
from services.sending.delivery.mime import Addressee, Sender, Skeleton
from services.sending.opt_out_footer import OptingOut
from services.sending.templating.mailing import compile_mailing
from services.sending.tracking.links import TrackingLinks
from services.sending.tracking.places import PLACE, tracked_urls, with_links, with_pixel

LINKS = TrackingLinks([Secret(b64encode(b"k" * 32).decode())], "https://mail.test")
TOKEN = LINKS.token(uuid4(), uuid4(), uuid4())


def tracked(html: str) -> str:
    """The template as it is compiled."""
    numbers = {url: number for number, url in enumerate(tracked_urls(html), 1)}
    return with_pixel(with_links(html, numbers, LINKS), LINKS)


def received(html: str) -> str:
    """What a mail says whose template this is."""
    mailing, _ = compile_mailing("News", html, "News")
    skeleton = Skeleton(Sender("Ada", "ada@shop.test"), mailing, "mail.test")
    data = {"contact": {"first_name": "Ada"}, "unsubscribe_url": "https://mail.test/u/x"}
    ways = OptingOut("https://mail.test/u/x", "https://mail.test/p/x", "out@mail.test")
    mail = skeleton.mail(Addressee(uuid4(), "a@b.test", data, ways, TOKEN))
    parsed = message_from_bytes(mail.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    _, rich = parsed.iter_parts()
    return str(rich.get_content()).rstrip("\r\n")


@pytest.mark.parametrize(
    ("html", "urls"),
    [
        ('<a href="https://shop.test/?a=1&amp;b=2">x</a>', ["https://shop.test/?a=1&b=2"]),
        ("<A class=x HREF = ' http://shop.test/a b '>x</A>", ["http://shop.test/a%20b"]),
        ('<a\n href="https://shop.test/ä">x</a>', ["https://shop.test/%C3%A4"]),
        (
            '<a href="https://b.test">x</a><a href="https://a.test">y</a>',
            ["https://b.test", "https://a.test"],
        ),
        ('<a href="https://a.test">x</a><area href="https://a.test">', ["https://a.test"]),
        ('<!--[if mso]><v:roundrect href="https://a.test"></v:roundrect><![endif]-->', ["https://a.test"]),
        ('<a title="{{ contact.first_name }}" href="https://a.test">x</a>', ["https://a.test"]),
    ],
)
def test_literal_links_to_the_web_are_tracked(html: str, urls: list[str]) -> None:
    assert tracked_urls(html) == urls


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://shop.test/?c={{ contact.email }}">x</a>',
        '<a href="{{ unsubscribe_url }}">x</a>',
        "{% assign link = '<a href=\"https://a.test\">' %}",
        '<a href="mailto:ada@shop.test">x</a>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href="/relative">x</a>',
        '<a href="https://">x</a>',
        '<a href="https://[half/">x</a>',
        '<a href="https://höfe.test">x</a>',
        '<a href="https://a.test/\r\nSet-Cookie: x">x</a>',
        '<a data-href="https://a.test">x</a>',
        '<link href="https://fonts.test/a.css"><img src="https://a.test/a.png">',
        f'<a href="https://mail.test/u/{"x" * 60}">out</a>',
        f'<a href="https://elsewhere.test/p/{"x" * 60}">preferences</a>',
        f'<a href="https://a.test/{"x" * 3_000}">x</a>',
        "https://a.test",
    ],
)
def test_everything_else_is_left_alone(html: str) -> None:
    assert tracked_urls(html) == []
    assert with_links(html, {"https://a.test": 1}, LINKS) == html


def test_every_link_of_a_mail_ends_with_its_token_and_the_pixel_stands_before_the_footer() -> None:
    html = (
        '<body>Hi {{ contact.first_name }}, <a href="https://a.test">a</a> <a href="https://b.test">b</a>'
        '{% for n in (1..2) %}<a href="https://a.test">{{ n }}</a>{% endfor %}</body>'
    )
    a, b = (f"{LINKS.link(number)}{TOKEN}" for number in (1, 2))
    assert received(tracked(html)) == (
        f'<body>Hi Ada, <a href="{a}">a</a> <a href="{b}">b</a><a href="{a}">1</a><a href="{a}">2</a>'
        f'<img src="{LINKS.pixel}{TOKEN}" alt="" width="1" height="1" style="border:0">'
        '<p style="font-size:small"><a href="https://mail.test/u/x">Unsubscribe</a> · '
        '<a href="https://mail.test/p/x">Preferences</a></p></body>'
    )


def test_a_link_that_a_template_captures_is_tracked_where_it_is_shown() -> None:
    html = '{% capture shop %}<a href="https://a.test">{{ contact.first_name }}</a>{% endcapture %}{{ shop | safe }}'
    assert f'<a href="{LINKS.link(1)}{TOKEN}">Ada</a>' in received(tracked(html))


@given(
    st.lists(
        st.sampled_from(
            ['<a href="https://a.test">', "</a>", "{{ x", "}}", "<", ">", '"', "</body>", "ä", " "]
        )
    )
)
def test_only_addresses_of_links_change_and_a_pixel_is_added(pieces: list[str]) -> None:
    html = "".join(pieces)
    pixel = f'<img src="{LINKS.pixel}{PLACE}" alt="" width="1" height="1" style="border:0">'
    back = tracked(html).replace(f"{LINKS.link(1)}{PLACE}", "https://a.test").replace(pixel, "", 1)
    assert back == html


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_any_template_that_can_be_compiled_can_be_tracked(html: str) -> None:
    try:
        compile_mailing("News", html, "News")
    except InvalidRequest:
        return
    compile_mailing("News", tracked(html), "News")
