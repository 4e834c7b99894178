"""The footer by which whoever gets a campaign's mail can opt out, where its own words do not show them how."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import TypeVar

from chassis.errors import FieldViolation, InvalidRequest
from services.sending.templating.bounds import MOST_OUTPUT, TooLong
from services.sending.templating.mailing import Mailing, Words
from services.sending.templating.template import TemplateError
from services.sending.visible_links import shown_in_html, shown_in_text

T = TypeVar("T")

_HTML = '<p style="font-size:small"><a href="{url}">Unsubscribe</a> · <a href="{preferences_url}">Preferences</a></p>'
_TEXT = "\n\n-- \nUnsubscribe: {url}\nPreferences: {preferences_url}\n"
_NOWHERE = "hides the link by which people opt out: something is not closed, or not displayed"
_BODY_ENDS = "</body>"
# Stands for the link, which is different in each mail.
_LINK = "https://link.invalid/"
_MOST_SHAPES = 1_000

# Ends within an attribute that says nothing of how something looks.
_IN_PLAIN_ATTRIBUTE = re.compile(r"""[ \t\n\f\r](?:alt|content|href|src|title)=["][^"]*\Z""", re.IGNORECASE)
_MARKUP = re.compile("""[<>"'`]""")


@dataclass(frozen=True, slots=True)
class OptingOut:
    """The ways for one person to opt out."""

    url: str
    preferences_url: str
    # To which a mail does it, whatever it says.
    address: str


class _Context(IntEnum):
    """Where a template's mark stands."""

    TEXT = 0
    PLAIN_ATTRIBUTE = 1
    TAG = 2


class _Place(Enum):
    """Where a mail shows the link."""

    OWN_WORDS = auto()
    FOOTER = auto()
    NOWHERE = auto()


class TextFooter:
    """Knows of a text what its mails have to be given."""

    def parts_of(self, literal: str) -> tuple[str, ...]:
        """It: a footer stands at the end."""
        return (literal,)

    def of(self, pieces: Sequence[str], ways: OptingOut) -> str:
        """What is added to a mail; nothing where it shows the link itself."""
        return "" if shown_in_text("".join(pieces), ways.url) else _filled(_TEXT, ways)


class HtmlFooter:
    """Knows of the HTML of a mailing what its mails have to be given; looks at each way through its template once."""

    def __init__(self, words: Words) -> None:
        self._literals = words.literals
        self._context_after = [
            {literal: _context_after(literal, before) for literal in words.literals} for before in _Context
        ]
        self._places: dict[tuple[str, ...], _Place] = {}

    def parts_of(self, literal: str) -> tuple[str, ...]:
        """A text of the template, in two where a footer may stand between."""
        end = literal.lower().rfind(_BODY_ENDS)
        return (literal,) if end < 0 else (literal[:end], literal[end:])

    def of(self, pieces: Sequence[str], ways: OptingOut) -> str:
        """What is added to a mail; nothing where it shows the link itself.

        Raises InvalidRequest when the link is not to be seen there either.
        """
        shape = self._shape(pieces, ways.url)
        place = self._places.get(shape)
        if place is None:
            if len(self._places) >= _MOST_SHAPES:
                self._places.clear()
            place = self._places[shape] = self._place(shape)
        if place is _Place.NOWHERE:
            raise InvalidRequest(
                FieldViolation("html", _NOWHERE), message=f"The mail cannot be sent. html {_NOWHERE}"
            )
        return "" if place is _Place.OWN_WORDS else _filled(_HTML, ways)

    def _shape(self, pieces: Sequence[str], url: str) -> tuple[str, ...]:
        """The pieces without what makes no difference to where the link is seen."""
        shape = []
        context = _Context.TEXT
        for piece in pieces:
            after = self._context_after[context].get(piece)
            if after is not None:
                shape.append(piece)
                context = after
            elif url in piece:
                shape.append(piece.replace(url, _LINK))
                context = _context_after(piece, context)
            elif context is not _Context.TAG and not _MARKUP.search(piece):
                shape.append("x" if piece.strip() else " ")
            else:
                shape.append(piece)
                context = _context_after(piece, context)
        return tuple(shape)

    def _place(self, shape: Sequence[str]) -> _Place:
        if shown_in_html("".join(shape), _LINK):
            return _Place.OWN_WORDS
        html: list[str] = []
        end = None
        for piece in shape:
            before_end, *rest = self.parts_of(piece) if piece in self._literals else (piece,)
            html.append(before_end)
            if rest:
                end = len(html)
                html += rest
        footer = _filled(_HTML, OptingOut(_LINK, "", ""))
        with_it = "".join(with_footer(html, end, footer))
        return _Place.FOOTER if shown_in_html(with_it, _LINK) else _Place.NOWHERE


def with_footer(pieces: Sequence[T], end: int | None, footer: T) -> list[T]:
    """The pieces of a mail with the footer before one of them, or at the end of all."""
    end = len(pieces) if end is None else end
    return [*pieces[:end], footer, *pieces[end:]]


def require_way_out(mailing: Mailing) -> None:
    """Raises InvalidRequest when somebody of whom nothing is known but the address would not find how to opt out."""
    ways = OptingOut("https://mail.invalid/u/sample", "https://mail.invalid/p/sample", "sample@mail.invalid")
    pieces = _Pieces()
    try:
        mailing.html.render(
            {
                "campaign": {"id": "", "name": ""},
                "contact": {"email": "reader@mail.invalid"},
                "unsubscribe_url": ways.url,
                "preferences_url": ways.preferences_url,
            },
            pieces,
        )
    except TemplateError:
        # It takes what is known of others; each of their mails is looked at all the same.
        return
    HtmlFooter(mailing.html).of(pieces.written, ways)


class _Pieces:
    def __init__(self) -> None:
        self.written: list[str] = []
        self._size = 0

    def write(self, text: str, /) -> int:
        self._size += len(text)
        if self._size > MOST_OUTPUT:
            raise TooLong
        self.written.append(text)
        return len(text)


def _context_after(source: str, before: _Context) -> _Context:
    opened, closed = source.rfind("<"), source.rfind(">")
    if closed > opened:
        return _Context.TEXT
    if opened < 0 and (before is _Context.TEXT or '"' not in source):
        return before
    return _Context.PLAIN_ATTRIBUTE if _IN_PLAIN_ATTRIBUTE.search(source, opened + 1) else _Context.TAG


def _filled(footer: str, ways: OptingOut) -> str:
    # The characters of links are those that HTML leaves alone.
    return footer.format(url=ways.url, preferences_url=ways.preferences_url)
