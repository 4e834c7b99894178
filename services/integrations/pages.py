"""The page that is seen by whoever comes back from a CRM. It works without scripts, cookies and log-in."""

from jinja2 import Environment, PackageLoader

from services.integrations.connections import Connection
from services.integrations.offers import title_of

_PAGES = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)


def connected_page(connection: Connection) -> bytes:
    """That it is done, and which account it is."""
    said = f"{title_of(connection.provider)}, account {connection.account_name}."
    return _page("Connected", said, done=True)


def not_connected_page(provider: str, why: str) -> bytes:
    """That it is not, and why."""
    return _page(f"{title_of(provider)} is not connected", why, done=False)


def _page(title: str, said: str, *, done: bool) -> bytes:
    return _PAGES.get_template("page.html").render(title=title, said=said, done=done).encode()
