"""What a browser would show of a link, and what it would not."""

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sending.visible_links import shown_in_html, shown_in_text

URL = "https://mail.test/u/aZ0-_"
LINK = f'<a href="{URL}">Leave</a>'


@pytest.mark.parametrize(
    "html",
    [
        LINK,
        f"<A HREF = '{URL}' class=x>Leave</A>",
        f"<a href={URL}>Leave",
        f"<a title='>' href=' {URL} '><b>Leave</b></a>",
        f'<a href="{URL}"><img src="leave.png" alt="Leave"></a>',
        f"<head><title>x</title><body>{LINK}",
        f"<!-- a --><!doctype html><!--[if mso]>{LINK}<![endif]-->{LINK}",
        f"<!-->{LINK}",
        f"<style>a > b {{ }}</style>{LINK}",
        f"<p>1 < 2 & 3 > 2 {LINK}",
        f'<div style="display:none">Preheader</div>{LINK}',
        f'<div style="display:none">Preheader<br></span></div>{LINK}',
        f"<p style='font-size:0.8em;opacity:0.5'>{LINK}</p>",
        f"</div></p>{LINK}",
        f"<p title=it's>{LINK}</p>",
        f"<table><tr><td hidden></td><td>{LINK}",
        f"<p><a href='{URL}'></p>Leave",
        f"<b><i hidden></i></b>{LINK}",
    ],
)
def test_a_link_is_seen(html: str) -> None:
    assert shown_in_html(html, URL)


@pytest.mark.parametrize(
    "html",
    [
        URL,
        f"<!-- {LINK} -->",
        f"<!-- {LINK}",
        f"<!-- > {LINK} --!>",
        f"<p title='{LINK}'>x</p>",
        f'<p title="{URL}">x</p>',
        f"<img src='{URL}'>",
        f"<a data-href='{URL}'>Leave</a>",
        f"<a href='#' href='{URL}'>Leave</a>",
        f"<a href='{URL}x'>Leave</a>",
        f"<a href='https://evil.test/?{URL}'>Leave</a>",
        f"<a href='{URL}'></a>Leave",
        f"<a href='{URL}'> &nbsp;&zwnj; </a>Leave",
        f"<a href='{URL}'><a href='#'>Leave</a></a>",
        f"<a href='{URL}'><span hidden>Leave</span></a>",
        f"<a href='{URL}' style='display: none'>Leave</a>",
        f"<a href='{URL}' style='DISPLAY:/**/NONE'>Leave</a>",
        f"<a href='{URL}' style='display&colon;none'>Leave</a>",
        f"<div style='font-size:0px'><p>{LINK}</p></div>",
        f"<div style='visibility:hidden'>{LINK}",
        f"<div hidden/>{LINK}",
        f"<style>{LINK}</style>",
        f"<script>'</div>'{LINK}",
        f"<textarea>{LINK}",
        f"<title>{LINK}",
        f"<plaintext>{LINK}",
        f"<dialog>{LINK}</dialog>",
        f"<body><div hidden></body>{LINK}",
        f"<div><b hidden></div>{LINK}",
        f"<a href='#'><div hidden></a>{LINK}",
        f"<span><div hidden></span>{LINK}",
        f"<o:p><div hidden></o:p>{LINK}",
        f"<form><div hidden></form>{LINK}",
        f"<div hidden><table><td></div>{LINK}",
        f"<ul><li hidden><ol></li>{LINK}",
        f"<table><td hidden><table></td>{LINK}",
        f"<template>{LINK}</template>",
        f'<a title="x href="{URL}">Leave</a>',
        f'<p title="{LINK}',
        f"<p {LINK}",
    ],
)
def test_what_cannot_be_seen_or_leads_elsewhere_is_no_link(html: str) -> None:
    assert not shown_in_html(html, URL)


@pytest.mark.parametrize("text", [URL, f"Leave: {URL}.", f"<{URL}>\n", f"({URL}), or", f"x{URL} {URL}"])
def test_an_address_is_seen_in_a_text(text: str) -> None:
    assert shown_in_text(text, URL)


@pytest.mark.parametrize("text", ["", f"{URL}x", f"{URL}/", f"https://evil.test/?u={URL}", URL[:-1]])
def test_another_address_is_not_this_one(text: str) -> None:
    assert not shown_in_text(text, URL)


@given(st.text(), st.text())
def test_whatever_stands_around_it_as_text_a_link_is_seen(before: str, after: str) -> None:
    assert shown_in_html(escape(before) + LINK + escape(after), URL)


@given(st.text("<>!-/\"'= ab" + "\n"), st.text("<>!-/\"'= ab" + "\n"))
def test_a_comment_hides_whatever_is_in_it(before: str, inside: str) -> None:
    hidden = f"{before}<!--{inside.replace('>', '')}{LINK.replace('>', '')}"
    assert not shown_in_html(hidden, URL)


def test_a_page_that_was_not_written_to_be_read_is_given_up() -> None:
    for part in (
        "<b>",
        "</i>",
        "<a ",
        '="',
        "<!--",
        "<style>",
        "&amp;",
        "<",
        "</b",
        "<p x=",
        "<div><b>",
        "</div></b>",
    ):
        page = "<p>" * 1_000 + part * (20_000 // len(part)) + "<b>" * 5_000 + "</p>" * 5_000
        assert not shown_in_html(page + LINK, URL)
