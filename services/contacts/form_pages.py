"""The pages of a form. They work without a script, a cookie or anything loaded from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jinja2 import Environment, PackageLoader

from services.contacts.custom_fields import CustomField, FieldType
from services.contacts.forms import NAMES, Form

# People do not see it, and so leave it empty; programs that fill in everything give themselves away.
HONEYPOT = "your-website"

_PAGES = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_INPUTS = {
    FieldType.TEXT: "text",
    FieldType.NUMBER: "number",
    FieldType.BOOLEAN: "checkbox",
    FieldType.DATE: "date",
    FieldType.CHOICE: "select",
}
# So that browsers can fill in what they know (HTML §4.10.18.7).
_AUTOCOMPLETE = {"first_name": "given-name", "last_name": "family-name"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is asked for, as it is shown: with what was filled in, and what is wrong with that."""

    name: str
    label: str
    input: str
    required: bool
    autocomplete: str = "off"
    choices: Sequence[str] = ()
    value: str = ""
    wrong: str = ""


def form_page(
    form: Form,
    fields: Mapping[str, CustomField],
    filled_in: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> bytes:
    """The form, to be filled in; again, with what was filled in and what is wrong with it."""
    lines = _lines(form, fields, filled_in or {}, wrong or {})
    return _render("form.html", title=form.title, form=form, lines=lines, honeypot=HONEYPOT)


def check_inbox_page(form: Form) -> bytes:
    """That there is a mail to look for; the same for everybody."""
    return _render(
        "message.html",
        title="Please check your inbox",
        said="We have sent you a mail with a link. Once you have confirmed there, you are subscribed.",
        hint="Nothing there after a few minutes? Have a look at the folder for spam.",
        form=form,
    )


def confirm_page(form: Form, email: str) -> bytes:
    """A page with one button."""
    return _render("confirm.html", title="One click left", form=form, email=email)


def subscribed_page(form: Form) -> bytes:
    """What is seen once it is done."""
    said = form.success_message or "Thank you. We are glad to have you."
    return _render("message.html", title="You are subscribed", said=said, hint="", form=form)


def thanks_page(form: Form) -> bytes:
    """What is seen where no confirmation is asked for; the same for everybody, those who have to confirm all the same included."""
    return _render(
        "message.html",
        title="Thank you",
        said=form.success_message or "We are glad to have you.",
        hint="Did you unsubscribe before? Then there is a mail in your inbox: one click there, and you are back.",
        form=form,
    )


def full_page(form: Form) -> bytes:
    """That nobody can be taken at the moment."""
    return _render(
        "message.html",
        title="This did not work yet",
        said="We cannot take you in at the moment. Please try again tomorrow.",
        hint="",
        form=form,
    )


def embeddable(form: Form, fields: Mapping[str, CustomField], url: str) -> str:
    """The form as a piece of HTML for a page of somebody else's."""
    lines = _lines(form, fields, {}, {})
    return _PAGES.get_template("embed.html").render(form=form, lines=lines, honeypot=HONEYPOT, url=url)


def _lines(
    form: Form, fields: Mapping[str, CustomField], filled_in: Mapping[str, str], wrong: Mapping[str, str]
) -> list[Line]:
    lines = [Line("email", "E-mail address", "email", True, "email")]
    for asked in form.fields:
        if asked.key in NAMES:
            lines.append(Line(asked.key, asked.label, "text", asked.required, _AUTOCOMPLETE[asked.key]))
        elif asked.key in fields:
            field = fields[asked.key]
            lines.append(
                Line(
                    asked.key, asked.label, _INPUTS[field.type], asked.required, choices=tuple(field.choices)
                )
            )
    return [
        replace(line, value=filled_in.get(line.name, ""), wrong=wrong.get(line.name, "")) for line in lines
    ]


def _render(template: str, **shown: object) -> bytes:
    return _PAGES.get_template(template).render(**shown).encode()
