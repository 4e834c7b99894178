"""The two forms of a mail's body: whoever writes one gets the other. A template's marks stay what they are."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

from chassis.errors import FieldViolation, InvalidRequest

_BREAKING = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "section", "article"}
_SILENT = {"style", "script", "title"}
_MARK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# From Unicode's private use, so that it stands in no text.
_PLACE = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True, slots=True)
class Body:
    """A mail's body in both forms."""

    html: str
    text: str

    @classmethod
    def of(cls, html: str, text: str) -> "Body":
        """Derive the form that is empty. Raises InvalidRequest when both are."""
        if not html.strip() and not text.strip():
            raise InvalidRequest(FieldViolation("html", "must be given unless there is a text"))
        return cls(
            html if html.strip() else _around_marks(_as_html, text),
            text if text.strip() else _around_marks(_as_text, html),
        )


@dataclass(frozen=True, slots=True)
class SealedBody:
    """A mail's body that only who hands the mail over can read: a `MailBody`, sealed for its message."""

    sealed: bytes


def _around_marks(derive: Callable[[str], str], source: str) -> str:
    marks = _MARK.findall(source)
    places = (f"\ue000{number}\ue001" for number in range(len(marks)))
    derived = derive(_MARK.sub(lambda _: next(places), _PLACE.sub("", source)))
    return _PLACE.sub(lambda place: marks[int(place[1])], derived)


def _as_html(text: str) -> str:
    paragraphs = (escape(paragraph).replace("\n", "<br>") for paragraph in text.split("\n\n"))
    return "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)


def _as_text(html: str) -> str:
    reader = _TextReader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).splitlines())
    return "\n".join(line for line in lines if line)


class _TextReader(HTMLParser):
    """Collects what a reader sees, and where links lead."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Break lines where a browser does."""
        if tag in _SILENT:
            self._silent += 1
        if tag in _BREAKING:
            self.pieces.append("\n")
        if tag == "a":
            self._links.append(dict(attributes).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        """End what was begun; a link's address follows its words."""
        if tag in _SILENT and self._silent:
            self._silent -= 1
        if tag in _BREAKING:
            self.pieces.append("\n")
        if tag == "a" and self._links and (address := self._links.pop()):
            self.pieces.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        """Keep visible text; white space in HTML is one space, a line break no break."""
        if not self._silent:
            self.pieces.append(data.replace("\n", " "))
