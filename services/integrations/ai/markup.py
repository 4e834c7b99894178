"""What HTML of a language model may not hold, since it is shown to its reader before anybody has looked at it."""

import re
from html.parser import HTMLParser

_FORBIDDEN = frozenset(
    ("applet", "base", "embed", "form", "frame", "iframe", "link", "math", "meta", "object", "script", "svg")
)
_LEADING = frozenset(("action", "background", "cite", "formaction", "href", "poster", "src", "srcset"))
# An address that a browser reads as one of these, or one that a template fills in.
_ADDRESS = re.compile(r"https?://|mailto:|tel:|#|\{\{", re.IGNORECASE)
_MOST = 10


def flaws_of_markup(html: str) -> list[str]:
    """What is wrong with it, in words; nothing when nothing runs, loads or sends."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return list(dict.fromkeys(reader.flaws))[:_MOST]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.flaws: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what has no place in a mail."""
        if tag in _FORBIDDEN:
            self.flaws.append(f"holds a <{tag[:20]}>")
        for name, value in attributes:
            if name.startswith("on"):
                self.flaws.append(f"has an attribute {name[:20]}")
            elif name in _LEADING and value and not _ADDRESS.match(value.strip()):
                self.flaws.append(f"leads by {name} to what is no web or mail address")
