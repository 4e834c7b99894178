"""The pages that a person sees who opts out or comes back, and the mail that asks whether they do."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader

from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.suppression.contacts_peer import ListChoice

_pages = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)
_NOTE = "If it was not you, ignore this mail: you will not hear from us again."


def unsubscribe_page() -> bytes:
    """A page with one button. Its form is posted to where the page came from, so the link is all it needs."""
    return _render("unsubscribe.html")


def unsubscribed_page() -> bytes:
    """What is seen once it is done."""
    return _told(
        "You are unsubscribed", "You will get no more mail from this sender. It is in force already."
    )


def preferences_page(
    *, opted_out: bool, kept_out: bool, lists: Sequence[ListChoice] | None, saved: bool = False
) -> bytes:
    """How it is, with buttons to have it otherwise; `lists` is None while nobody can tell them."""
    return _render("preferences.html", opted_out=opted_out, kept_out=kept_out, lists=lists, saved=saved)


def lists_not_saved_page() -> bytes:
    """That it was in vain, and what helps all the same."""
    return _told(
        "Your choice is not saved",
        "The lists cannot be changed at the moment. Please go back and try again in a while; unsubscribing from everything works meanwhile.",
    )


def check_inbox_page() -> bytes:
    """That there is a mail to look for; the same for everybody."""
    return _told(
        "Please check your inbox",
        "We have sent you a mail with a link. Once you have confirmed there, you will get mail from this sender again.",
    )


def return_page() -> bytes:
    """A page with one button, by which somebody comes back."""
    return _render("return.html")


def returned_page() -> bytes:
    """What is seen once it is done."""
    return _told("You are subscribed again", "This sender may write to you from now on.")


def expired_page() -> bytes:
    """What is seen behind a link whose time is over."""
    return _told(
        "This link has expired", "Ask for a new one behind “Preferences” in any mail of this sender."
    )


def return_mail(sender: str, link: str) -> Content:
    """What asks an address whether it is to get mail again."""
    opening = f"Please confirm that {sender} may write to you again."
    html = _pages.get_template("return_mail.html").render(opening=opening, link=link, note=_NOTE)
    return Content(f"Please confirm: mail from {sender}", Body(html, f"{opening}\n\n{link}\n\n{_NOTE}"))


def _told(title: str, told: str) -> bytes:
    return _render("told.html", title=title, told=told)


def _render(page: str, **data: object) -> bytes:
    return _pages.get_template(page).render(data).encode()
