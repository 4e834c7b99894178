"""A template with any data renders within its bounds, or tells where it cannot."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import InvalidRequest
from services.sending.templating.bounds import MOST_OF_A_VALUE, MOST_OUTPUT
from services.sending.templating.language import HTML, TEXT, Language
from services.sending.templating.template import Template, TemplateError

CONTACT = {"first_name": "Zoë", "last_name": "<b>", "email": "zoe@example.com", "custom_fields": {"age": 7}}
DATA: Mapping[str, object] = {
    "contact": CONTACT,
    "campaign": {"name": "Spring"},
    "unsubscribe_url": "https://mail.test/u/x",
    "variables": {"items": ["a", "b"], "long": "y" * 1000},
}
LOCATED = re.compile(r"line (\d+), column (\d+): .+", re.DOTALL)


def rendered(source: str, data: Mapping[str, object] = DATA, language: Language = HTML) -> str:
    return Template.compile("html", source, language).text(data)


def refusal(source: str, data: Mapping[str, object] = DATA) -> str:
    with pytest.raises(TemplateError) as refused:
        rendered(source, data)
    [violation] = refused.value.violations
    assert violation.field == "html"
    return violation.message


def test_values_of_the_contact_stand_where_the_template_names_them() -> None:
    assert rendered("Hi {{ contact.first_name }}, {{ contact.custom_fields.age | plus: 1 }}") == "Hi Zoë, 8"
    assert rendered("Hi {{ contact.custom_fields.nickname | default: 'you' }}") == "Hi you"
    assert rendered("{% for i in variables.items %}{{ forloop.index }}{{ i }}{% endfor %}") == "1a2b"


def test_a_value_becomes_no_markup_unless_the_template_says_so() -> None:
    assert rendered("{{ contact.last_name }}") == "&lt;b&gt;"
    assert rendered("{{ contact.last_name | append: '<i>' }}") == "&lt;b&gt;<i>"
    assert rendered("{{ contact.last_name | safe }}") == "<b>"
    assert rendered("{{ contact.last_name }}", language=TEXT) == "<b>"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("Hi\n  {{ contcat.first_name }}", "line 2, column 6: 'contcat' is not known; known are campaign, "),
        (
            "{{ contact.firstname }}",
            "line 1, column 4: 'contact.firstname' is not known; known are contact.email, ",
        ),
        ("{{ contact[campaign.name] }}", "line 1, column 4: say what of the contact: contact.email, "),
        (
            "{% for f in contact.custom_fields %}{% endfor %}",
            "line 1, column 13: say which of the custom fields",
        ),
        ("{{ contact.first_name | shout }}", "line 1, column 25: unknown filter 'shout'"),
        ("a\n\n{% if contact.email %}", "line 3, column 23: expected tag endif, "),
        ("{% include 'other' %}", "line 1, column 4: unexpected tag 'include'"),
        ("{{ 'unclosed", "line 1, column 1: this has no '}}' within 2,000 characters"),
    ],
)
def test_an_error_is_told_when_it_is_saved_with_its_line_and_column(source: str, told: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Template.compile("html", source, HTML)
    [violation] = refused.value.violations
    assert violation.message.startswith(told)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..1000000000) reversed %}{% endfor %}",
        "{% for i in (1..1000000000) limit: 99999999 %}a{% endfor %}",
        "{% for i in (1..1000) %}{% for j in (1..1000) %}a{% endfor %}{% endfor %}",
        "{{ (1..100000000000) | join: ',' }}",
        "{% assign a = (1..100000000000) %}",
        "{{ variables.long | replace: '', variables.long }}",
        "{% assign a = variables.long %}" + "{% assign a = a | append: a %}" * 40,
        "{% assign a = 9 %}" + "{% assign a = a | times: a %}" * 40,
        "{% assign a = 'a' | split: '' %}" + "{% assign a = a | concat: a %}" * 40,
        "{{ variables.long }}" * 3000,
        "{% capture a %}{{ variables.long }}{% endcapture %}" * 2500,
        "{{ 10 | round: -100000000 }}",
        "{% break %}",
        "{{ contact.email | append }}",
        "{% assign long = variables.long | replace: 'y', '<!-- ' %}{% for i in (1..500) %}{{ long | strip_html }}{% endfor %}",
        "{{ contact" + "[contact" * 300 + "]" * 300 + "}}",
        "{% if contact.email" + " and contact.email" * 100 + " %}{% endif %}",
        "{% if contact.email %}" * 200 + "{% endif %}" * 200,
        "{{" * 100_000,
        "{% raw %}" * 1000,
        "{{ contact.email }}" * 6000,
    ],
)
def test_what_cannot_be_done_or_takes_too_much_is_refused_where_it_stands(source: str) -> None:
    assert LOCATED.fullmatch(refusal(source))


def test_a_value_cannot_be_made_larger_than_its_bound() -> None:
    half = "x" * (MOST_OF_A_VALUE // 2)
    assert (
        len(rendered("{{ variables.x | append: variables.x }}", {"variables": {"x": half}})) == len(half) * 2
    )
    assert "more than" in refusal(
        "{{ variables.x | append: variables.x | append: 'y' }}", {"variables": {"x": half}}
    )


@pytest.mark.parametrize(
    "path",
    ["variables.__class__", "variables['__class__']", "variables.items.append", "contact.first_name.format"],
)
def test_nothing_but_data_can_be_reached(path: str) -> None:
    assert rendered(f"[{{{{ {path} }}}}]") == "[]"


def test_a_template_tells_which_fields_it_needs() -> None:
    source = "{{ contact.first_name }}{% if contact.custom_fields['shoe size'] %}{{ variables[campaign.name] }}{% endif %}"
    assert Template.compile("html", source, HTML).paths == {
        ("contact", "first_name"),
        ("contact", "custom_fields", "shoe size"),
        ("variables",),
        ("campaign", "name"),
    }


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else {"a": "b"}


# Larger and deeper than anything a mail needs.
HUGE: Mapping[str, Any] = {
    "a text": "x" * (MOST_OF_A_VALUE + 1),
    "markup": "<b> 'x' & " * 9_000,
    "digits": "7" * 5_000,
    "a number": 10**4_000,
    "a list": list(range(20_000)),
    "a deep one": nested(90),
}
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=30)
    | st.integers(-(10**40), 10**40)
    | st.sampled_from(sorted(HUGE)).map(HUGE.__getitem__),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
atoms = st.sampled_from(
    ["contact.first_name", "contact.custom_fields.a", "contact.custom_fields.a.b", "contact", "variables.a.b", "variables.a[0]", "x", "i", "forloop.index", "nil",
     "true", "empty", "blank", "'text'", '"<b>"', "0", "-7", "3.5", "1e309", "(1..9)", "(contact.a..variables.a)", "'%Y %1000d'",
     "variables.a.size", "contact.custom_fields.a.first", "99999999999999999999999999999999999999999999", "campaign.name", "'now'"]
)  # fmt: skip
filters = st.builds(
    lambda name, given: f" | {name}" + (": " + ", ".join(given) if given else ""),
    st.sampled_from(sorted(HTML.filters)),
    st.lists(atoms, max_size=3),
)
expressions = st.builds(lambda atom, chain: atom + "".join(chain), atoms, st.lists(filters, max_size=3))
conditions = st.builds(
    lambda a, operator, b: f"{a} {operator} {b}",
    atoms,
    st.sampled_from(["==", "!=", "<", ">", "<=", ">=", "contains", "and", "or"]),
    atoms,
)
pieces = st.recursive(
    st.text(max_size=20)
    | expressions.map("{{{{ {} }}}}".format)
    | expressions.map("{{% assign x = {} %}}".format)
    | atoms.map("{{% cycle {0}, 'b' %}}".format)
    | st.sampled_from(["{% increment i %}", "{% break %}", "{% raw %}{{{% endraw %}", "{%- # a -%}", "{{", "%}", "{% case x %}"]),
    lambda inner: st.lists(inner, max_size=3).map("".join)
    | st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, conditions, inner, inner)
    | st.builds("{{% unless {} %}}{}{{% endunless %}}".format, conditions, inner)
    | st.builds("{{% for i in {} limit: {} %}}{}{{% endfor %}}".format, atoms, atoms, inner)
    | st.builds("{{% for i in {} reversed offset: {} %}}{}{{% endfor %}}".format, atoms, atoms, inner)
    | st.builds("{{% case {} %}}{{% when {} %}}{}{{% endcase %}}".format, atoms, atoms, inner)
    | st.builds("{{% capture x %}}{}{{% endcapture %}}".format, inner)
    | st.builds("{{% ifchanged %}}{}{{% endifchanged %}}".format, inner),
    max_leaves=12,
)  # fmt: skip


# What somebody may type: of the characters that mean something, in any order.
typed = st.text(st.sampled_from("{}%|:.,-_[]()<>=!'\"# \n\tabix019é🌻"), max_size=60) | st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", "{%-", "-}}", "if", "endif", "else", "elsif", "for", "in", "endfor", "case", "when", "assign",
                     "capture", "raw", "endraw", "comment", "contact", ".first_name", "|", ":", "'", '"', "append", "==", "(1..", "3)", " ", "\n"]),
    max_size=20,
).map(" ".join)  # fmt: skip


@settings(max_examples=300)
@given(
    source=pieces | typed,
    contact=st.fixed_dictionaries(
        {"first_name": values, "custom_fields": st.fixed_dictionaries({"a": values})}
    ),
    variables=st.dictionaries(st.sampled_from(["a", "b"]), values),
    language=st.sampled_from([HTML, TEXT]),
)
def test_any_template_with_any_contact_renders_or_tells_where_it_cannot(
    source: str, contact: dict[str, Any], variables: dict[str, Any], language: Language
) -> None:
    data = {"contact": contact, "variables": variables, "campaign": {"name": "n"}, "unsubscribe_url": "u"}
    try:
        assert len(rendered(source, data, language)) <= MOST_OUTPUT
    except InvalidRequest as refused:
        [violation] = refused.violations
        located = LOCATED.fullmatch(violation.message)
        assert located is not None, violation
        line, column = map(int, located.groups())
        assert 1 <= line <= source.count("\n") + 1
        assert 1 <= column <= len(source.split("\n")[line - 1]) + 1
