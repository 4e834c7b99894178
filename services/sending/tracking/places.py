"""Where a campaign's HTML is tracked: behind literal links to the web, and by a pixel at its end.

What is found here once, when a campaign is launched or compiled, costs each mail no more than the text of its token.
"""

import re
from collections.abc import Mapping
from html import escape, unescape
from urllib.parse import quote, urlsplit

from services.sending.tracking.links import MOST_LINKS, TrackingLinks

# Stands for the token of the message: one of Unicode's noncharacters, which are for use within programs and stand in no text.
PLACE = "\ufdd0"

_LONGEST_URL = 2048
# A mark of a template, which stays as it is, or a quoted address in a tag that leads somewhere. Addresses that a mark is a part of are
# other addresses for other people: they are left alone, since what may be put into them is not known before.
_MARK_OR_LINK = re.compile(
    r"""\{\{.{0,2000}?\}\}|\{%.{0,2000}?%\}
    |(?P<tag><(?:a|area|v:\w+)\s(?:[^<>]*?\s)??href\s*=\s*)(?P<quote>["'])(?P<url>\s*https?://[^"'<>{}]*)(?P=quote)""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
# Whoever's pages they are: a way out is never tracked, even one that was copied from another mail.
_WAY_OUT = re.compile(r"https?://[^/?#]+/[up]/[\w-]{40,}", re.IGNORECASE)
_SAFE_IN_URL = "!#$%&'()*+,/:;=?@[]~"
_BODY_ENDS = "</body>"


def tracked_urls(html: str) -> list[str]:
    """The addresses behind the links of a template that can be tracked, each once and in their order."""
    found = (_target(place) for place in _MARK_OR_LINK.finditer(html))
    return list(dict.fromkeys(filter(None, found)))[:MOST_LINKS]


def with_links(html: str, numbers: Mapping[str, int], links: TrackingLinks) -> str:
    """The template with its links leading through us: those to one of the addresses that have a number."""

    def tracked(place: re.Match[str]) -> str:
        number = numbers.get(_target(place))
        if number is None:
            return place[0]
        return f"{place['tag']}{place['quote']}{links.link(number)}{PLACE}{place['quote']}"

    return _MARK_OR_LINK.sub(tracked, html)


def with_pixel(html: str, links: TrackingLinks) -> str:
    """The template with a pixel at the end of its body."""
    end = html.lower().rfind(_BODY_ENDS)
    end = len(html) if end < 0 else end
    pixel = f'<img src="{escape(links.pixel)}{PLACE}" alt="" width="1" height="1" style="border:0">'
    return f"{html[:end]}{pixel}{html[end:]}"


def _target(place: re.Match[str]) -> str:
    """Where a link leads, in ASCII as a header takes it; empty for what is no link, or none that can be tracked."""
    url = unescape(place["url"] or "").strip()
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    if not host.isascii() or not url.isprintable() or _WAY_OUT.match(url):
        return ""
    target = quote(url, safe=_SAFE_IN_URL)
    return target if host and len(target) <= _LONGEST_URL else ""
