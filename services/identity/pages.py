"""The pages behind the links in account mails. They work without scripts, cookies and log-in."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

_PAGES = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form; `autocomplete` lets password managers know what it is (HTML §4.10.18.7)."""

    name: str
    label: str
    autocomplete: str
    type: str = "text"
    required: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """What is filled in and sent to where the page came from."""

    button: str
    fields: Sequence[Field] = ()


_NEW_PASSWORD = Field("password", "New password", "new-password", "password")


def verify_email_page(objections: Sequence[str] = ()) -> bytes:
    """Asks for one click."""
    return _page(
        "Confirm your address", "One click, and your address is confirmed.", Form("Confirm"), objections
    )


def reset_password_page(objections: Sequence[str] = ()) -> bytes:
    """Asks for a new password."""
    said = "At least 12 characters; a few words are good. Your sessions end everywhere."
    return _page("Set a new password", said, Form("Set password", (_NEW_PASSWORD,)), objections)


def invitation_page(objections: Sequence[str] = ()) -> bytes:
    """Asks an invited person who they are."""
    fields = (
        Field("name", "Your name (if you have no account yet)", "name", required=False),
        Field(
            "password",
            "Your password, or a new one of at least 12 characters",
            "current-password",
            "password",
        ),
        Field("code", "Code of your second factor, if you have one", "one-time-code", required=False),
    )
    return _page("Accept the invitation", "Join the team.", Form("Join", fields), objections)


def done_page(title: str, said: str) -> bytes:
    """What is seen once it is done."""
    return _page(title, said, None, ())


def _page(title: str, said: str, form: Form | None, objections: Sequence[str]) -> bytes:
    page = _PAGES.get_template("page.html")
    return page.render(title=title, said=said, form=form, objections=objections).encode()
