"""What is wrong with a mail that nobody has saved: what saving it as a campaign's and launching that would say."""

from collections.abc import Sequence

from chassis.errors import FieldViolation, InvalidRequest
from services.sending.bodies import Body
from services.sending.opt_out_footer import require_way_out
from services.sending.templating.language import TEXT
from services.sending.templating.mailing import compile_mailing
from services.sending.templating.template import Template

# Everybody has these; what a contact may be without is empty.
_NOBODY_IN_PARTICULAR = {
    "campaign": {"id": "", "name": ""},
    "contact": {"email": "reader@example.com", "first_name": "", "last_name": "", "custom_fields": {}},
    "preferences_url": "https://example.com/p/1",
    "unsubscribe_url": "https://example.com/u/1",
}


def checked_mail(subjects: Sequence[str], preheaders: Sequence[str], html: str, text: str) -> Body:
    """Its body in both forms. Raises InvalidRequest that tells all for which a campaign could not be launched with it."""
    flaws = [
        flaw
        for field, lines in (("subjects", subjects), ("preheaders", preheaders))
        for index, line in enumerate(lines)
        for flaw in _flaws_of_line(f"{field}[{index}]", line)
    ]
    try:
        body = _checked_body(html, text)
    except InvalidRequest as refused:
        raise InvalidRequest(*flaws, *refused.violations) from None
    if flaws:
        raise InvalidRequest(*flaws)
    return body


def _flaws_of_line(field: str, line: str) -> Sequence[FieldViolation]:
    try:
        template = Template.compile(field, line, TEXT)
        template.text(_NOBODY_IN_PARTICULAR)
    except InvalidRequest as refused:
        return refused.violations
    return _strange_names(field, template.paths)


def _checked_body(html: str, text: str) -> Body:
    body = Body.of(html, text)
    mailing, paths = compile_mailing("", body.html, body.text)
    require_way_out(mailing)
    mailing.html.text(_NOBODY_IN_PARTICULAR)
    mailing.text.text(_NOBODY_IN_PARTICULAR)
    if strange := _strange_names("html" if html.strip() else "text", paths):
        raise InvalidRequest(*strange)
    return body


def _strange_names(field: str, paths: frozenset[tuple[str, ...]]) -> Sequence[FieldViolation]:
    # Only a single message's request gives some.
    if any(path[0] == "variables" for path in paths):
        return [FieldViolation(field, "says 'variables', of which a campaign has none")]
    return []
