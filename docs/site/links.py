"""Where the pages of a built site lead, and what a browser fetches to show them."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """What a page refers to, what it fetches, and what may be referred to in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to; called by the parser."""
        values = {name: value for name, value in attrs if value}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        elif tag == "link" and "href" in values:
            self.fetched.add(values["href"])
        elif "src" in values:
            self.fetched.add(values["src"])


def broken(site: Path) -> Iterator[str]:
    """What of a built site leads nowhere, or outside before anybody asked to be led there."""
    pages = {page: Links(page.read_text()) for page in site.rglob("*.html")}
    for page, found in pages.items():
        name = page.relative_to(site)
        yield from (f"{name} fetches {each}" for each in found.fetched if urlsplit(each).netloc)
        for link in (*found.links, *found.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = _target(site, page, unquote(parts.path))
            if not target.is_file():
                yield f"{name} leads to {link}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} leads to {link}, and there is no such place on that page"


def _target(site: Path, page: Path, address: str) -> Path:
    if not address:
        return page
    return site / address[1:] if address.startswith("/") else (page.parent / address).resolve()
