"""The pages that a person sees who opts out."""

from jinja2 import Environment, PackageLoader

_pages = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)


def unsubscribe_page() -> bytes:
    """A page with one button. Its form is posted to where the page came from, so the link is all it needs."""
    return _pages.get_template("unsubscribe.html").render(done=False).encode()


def unsubscribed_page() -> bytes:
    """What is seen once it is done."""
    return _pages.get_template("unsubscribe.html").render(done=True).encode()
