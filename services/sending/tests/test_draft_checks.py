"""A mail that nobody has saved is looked at as one that is launched."""

import pytest

from chassis.errors import InvalidRequest
from services.sending.draft_checks import checked_mail


def flaws(
    subject: str = "Hello", preheader: str = "", html: str = "<p>Hello</p>", text: str = ""
) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        checked_mail([subject], [preheader], html, text)
    return [violation.field for violation in refused.value.violations]


def test_a_good_one_comes_back_in_both_forms() -> None:
    body = checked_mail(
        ["Dear {{ contact.first_name | default: 'you' }}"],
        ["{{ contact.custom_fields.city }}"],
        '<p>See <a href="{{ unsubscribe_url }}">this</a></p>',
        "",
    )
    assert body.text == "See this ({{ unsubscribe_url }})"


@pytest.mark.parametrize(
    "wrong",
    [
        "{{ contact.password }}",
        "{{ nobody }}",
        "{% include 'x' %}",
        "{{",
        "{{ variables.name }}",
        "{{ 1 | divided_by: 0 }}",
    ],
)
def test_what_cannot_be_launched_is_told_by_its_place(wrong: str) -> None:
    assert flaws(subject=wrong) == ["subjects[0]"]
    assert flaws(preheader=wrong) == ["preheaders[0]"]
    assert flaws(html=f"<p>{wrong}</p>") == ["html"] or flaws(html=f"<p>{wrong}</p>") == ["html", "text"]


def test_a_body_that_hides_the_way_out_is_told() -> None:
    assert flaws(html="<p>Hello</p><!-- ") == ["html"]


def test_nothing_said_is_told() -> None:
    assert flaws(html=" ") == ["html"]


def test_all_flaws_are_told_at_once() -> None:
    assert flaws(subject="{{", preheader="{{", html="{{") == ["subjects[0]", "preheaders[0]", "html", "text"]
