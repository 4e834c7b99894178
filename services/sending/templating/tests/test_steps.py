"""The steps of a template say what the library says of it, for whatever template and whatever contact."""

from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from liquid.exceptions import LiquidError

from chassis.errors import InvalidRequest
from services.sending.templating.bounds import Context
from services.sending.templating.language import HTML, TEXT, Language
from services.sending.templating.template import Template, TemplateError

PATHS = st.sampled_from(
    [
        "contact.first_name",
        "contact.last_name",
        "contact.email",
        "contact.custom_fields.score",
        "contact.custom_fields.city",
        "contact.custom_fields.tags",
        "contact.custom_fields.tags.first",
        "contact.custom_fields.city.size",
        "contact.custom_fields['two words']",
        "contact.custom_fields.tags[0]",
        "variables.deep.deeper",
        "variables[contact.first_name]",
        "campaign.name",
        "unsubscribe_url",
    ]
)
LITERALS = st.sampled_from(["1", "-2", "3.5", "true", "false", "nil", "empty", "blank", "'a'", "'<b>'", "''"])
OPERANDS = PATHS | LITERALS
COMPARISONS = st.builds(
    "{} {} {}".format,
    OPERANDS,
    st.sampled_from(["==", "!=", "<", ">", "<=", ">=", "<>", "contains"]),
    OPERANDS,
)
CONDITIONS = st.lists(COMPARISONS | OPERANDS, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" and ", " or "]).map(lambda junctor: junctor.join(parts))
)
FILTERS = st.sampled_from(
    [
        "",
        " | default: 'friend'",
        " | upcase",
        " | default: 1 | append: '!'",
        " | safe",
        " | escape",
        " | size",
        " | date: '%Y'",
    ]
)
OUTPUTS = st.builds("{{{{ {}{} }}}}".format, PATHS | LITERALS, FILTERS)
TEXTS = st.sampled_from(["Hello ", "\n", " & <i>", "", "ä"])


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{{% if {} %}}{}{{% endif %}}".format, CONDITIONS, inner),
        st.builds(
            "{{% if {} %}}{}{{% elsif {} %}}{}{{% else %}}{}{{% endif %}}".format,
            CONDITIONS,
            inner,
            CONDITIONS,
            inner,
            inner,
        ),
        st.builds("{{% unless {} %}}{}{{% endunless %}}".format, CONDITIONS, inner),
        st.builds(
            "{{% for each in contact.custom_fields.tags %}}{}{{{{ each }}}}{{% endfor %}}".format, inner
        ),
        st.builds("{{% case {} %}}{{% when 1 %}}{}{{% else %}}{}{{% endcase %}}".format, PATHS, inner, inner),
        st.builds("{{% assign given = {} %}}{{{{ given }}}}{}".format, OPERANDS, inner),
        st.builds("{{% capture contact %}}{}{{% endcapture %}}{}".format, inner, inner),
        st.builds("{{% increment counted %}}{}".format, inner),
        st.builds("{}{}".format, inner, inner),
    )


SOURCES = st.recursive(TEXTS | OUTPUTS, blocks, max_leaves=8)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2)
    | st.sampled_from(["", " ", "a", "<b>", "2024-05-01"])
)
DATA = st.fixed_dictionaries(
    {
        "contact": st.fixed_dictionaries(
            {"email": st.just("a@b.test")},
            optional={
                "first_name": VALUES,
                "last_name": VALUES,
                "custom_fields": st.dictionaries(
                    st.sampled_from(["score", "city", "tags", "two words", "size", "first"]),
                    VALUES
                    | st.lists(VALUES, max_size=3)
                    | st.dictionaries(st.sampled_from(["first", "a"]), VALUES, max_size=2),
                    max_size=4,
                ),
            },
        ),
        "campaign": st.just({"name": "June"}),
        "unsubscribe_url": st.just("https://x.test/u/1"),
    },
    optional={
        "variables": VALUES
        | st.dictionaries(
            st.sampled_from(["deep", "a", ""]), VALUES | st.dictionaries(st.just("deeper"), VALUES)
        )
    },
)


def as_the_library_says(source: str, data: Any, language: Language) -> str | None:
    """None when it finds an error."""
    bound = language.from_string(source)
    written = StringIO()
    context = Context(bound, globals=data)
    try:
        for node in bound.nodes:
            node.render(context, written)
    except (LiquidError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return written.getvalue()


@pytest.mark.parametrize("language", [HTML, TEXT], ids=["html", "text"])
@settings(max_examples=60, deadline=None)
@given(source=SOURCES, data=DATA)
@example("{% if contact.no %}Hello{% elsif 1 %}\n{% endif %}", {"contact": {}})
def test_the_steps_say_what_the_library_says(language: Language, source: str, data: Any) -> None:
    try:
        template = Template.compile("html", source, language)
    except InvalidRequest:
        # It is told when it is saved.
        return
    try:
        said: str | None = template.text(data)
    except TemplateError:
        said = None
    assert said == as_the_library_says(source, data, language)
