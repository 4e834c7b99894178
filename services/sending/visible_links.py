"""Whether who reads a mail finds a link in it, as far as its markup tells; what a style sheet does to it is not looked at."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape

_SPACE = " \t\n\f\r"
# HTML §13.2.5, as far as it tells where tags, attributes and comments end. What does not end swallows the rest.
_COMMENT = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))|<(?:[!?]|/[^A-Za-z])[^>]*(?:>|\Z)", re.DOTALL)
_TAG = re.compile(
    rf"""<(/?)([A-Za-z][^{_SPACE}/>]*)((?:[^>=]++|=[{_SPACE}]*"[^"]*"|=[{_SPACE}]*'[^']*'|=(?![{_SPACE}]*["']))*+)>"""
)
_TAG_BEGINS = re.compile(r"</?[A-Za-z]")
_ATTRIBUTE = re.compile(
    rf"""([^{_SPACE}/>="'][^{_SPACE}/>=]*)(?:[{_SPACE}]*=[{_SPACE}]*(?:"([^"]*)"|'([^']*)'|([^{_SPACE}>]+)))?"""
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
# Elements in which there are no others.
_RAW = frozenset(["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"])
_UNSEEN = _RAW | frozenset(
    [
        "audio",
        "canvas",
        "datalist",
        "dialog",
        "frameset",
        "meter",
        "noscript",
        "object",
        "progress",
        "rp",
        "select",
        "svg",
        "template",
        "video",
    ]
)
# HTML §13.2.4.3: begun again in whatever follows the end of an element around them.
_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
# HTML §13.2.4.2: the end of an element that is none of these ends none of them.
_SPECIAL = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "button",
        "caption",
        "center",
        "dd",
        "details",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "li",
        "listing",
        "main",
        "marquee",
        "menu",
        "nav",
        "noscript",
        "object",
        "ol",
        "p",
        "pre",
        "search",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "td",
        "template",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_PARTS_OF_TABLES = frozenset(["caption", "table", "tbody", "td", "tfoot", "th", "thead", "tr"])
_SCOPES = frozenset(["caption", "marquee", "object", "table", "td", "template", "th"])
# After them the page goes on within what was open.
_ENDING_NOTHING = frozenset(["body", "form", "html"])
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|(?:font-size|opacity|max-height):0(?:\.0*)?(?![.\d])"
)
# Characters that take no room, and white space.
_NOTHING = re.compile("[\\s\u00ad\u034f\u061c\u180e\u200b-\u200f\u2060-\u2064\ufeff]*")
# A tag is one, and so is each element that it ends: what takes more was not written to be read.
_MOST_STEPS = 50_000
_OF_AN_ADDRESS = re.compile(r"[\w%&/=?~#-]")


def shown_in_html(html: str, url: str) -> bool:
    """Whether something that can be seen leads to the address."""
    return _Reader(url).finds_link(html)


def shown_in_text(text: str, url: str) -> bool:
    """Whether the address stands in the text, not as a part of a longer one."""
    start = text.find(url)
    while start >= 0:
        around = text[max(start - 1, 0) : start], text[start + len(url) : start + len(url) + 1]
        if not any(map(_OF_AN_ADDRESS.match, around)):
            return True
        start = text.find(url, start + 1)
    return False


@dataclass(frozen=True, slots=True)
class _Element:
    """An element that is open."""

    name: str
    hides: bool = False
    # Whether it is a link to the address.
    leads: bool = False


class _Reader:
    """Goes through a page tag by tag, as browsers read it; where that takes more, what may be hidden is taken to be."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[_Element] = []
        self._open_of = Counter[str]()
        self._hiding = 0
        self._leading = 0
        self._steps_left = _MOST_STEPS

    def finds_link(self, html: str) -> bool:
        """Whether something can be seen that leads to the address."""
        at = 0
        while at < len(html) and self._steps_left >= 0:
            begin = html.find("<", at)
            if self._shows(html[at : begin if begin >= 0 else len(html)]):
                return True
            if begin < 0:
                return False
            if comment := _COMMENT.match(html, begin):
                at = comment.end()
            elif tag := _TAG.match(html, begin):
                at = tag.end()
                self._steps_left -= 1
                name = tag[2].lower()
                if tag[1]:
                    self._end(name)
                elif name == "plaintext" or self._begin(name, tag[3]):
                    return name != "plaintext"
                elif name in _RAW:
                    at = _end_of_raw(html, name, at)
            elif _TAG_BEGINS.match(html, begin):
                return False
            else:
                at = begin + 1
                if self._shows("<"):
                    return True
        return False

    def _shows(self, text: str) -> bool:
        if not self._leading or self._hiding:
            return False
        return not _NOTHING.fullmatch(unescape(text))

    def _begin(self, name: str, source: str) -> bool:
        """Whether a picture in the link comes with it."""
        attributes = _attributes(source)
        hides = name in _UNSEEN or _hides(attributes)
        if name == "img":
            return self._leading > 0 and not self._hiding and not hides
        if name in _VOID:
            return False
        if name == "a":
            # Links do not nest.
            self._end("a")
        leads = name == "a" and attributes.get("href", "").strip() == self._url
        self._push(_Element(name, hides, leads))
        return False

    def _end(self, name: str) -> None:
        if not self._open_of[name] or name in _ENDING_NOTHING:
            return
        place = len(self._open) - 1
        while self._open[place].name != name:
            place -= 1
        within = self._open[place + 1 :]
        self._steps_left -= len(within)
        if name not in _FORMATTING:
            if any(_keeps_open(element.name, name) for element in within):
                return
            within = [element for element in within if element.name in _FORMATTING]
        for element in self._open[place:]:
            self._count(element, -1)
        del self._open[place:]
        for element in within:
            self._push(element)

    def _push(self, element: _Element) -> None:
        self._open.append(element)
        self._count(element, 1)

    def _count(self, element: _Element, by: int) -> None:
        self._open_of[element.name] += by
        self._hiding += by * element.hides
        self._leading += by * element.leads


def _keeps_open(within: str, ended: str) -> bool:
    """Whether an end tag ends nothing because of what was begun since (HTML §13.2.4.2)."""
    if ended in _PARTS_OF_TABLES:
        return within == "table"
    if ended not in _SPECIAL:
        return within in _SPECIAL
    return within in _SCOPES or (ended == "li" and within in ("ol", "ul"))


def _end_of_raw(html: str, name: str, at: int) -> int:
    end = re.compile(rf"</{name}(?=[{_SPACE}/>])", re.IGNORECASE).search(html, at)
    return end.start() if end else len(html)


def _attributes(source: str) -> Mapping[str, str]:
    attributes: dict[str, str] = {}
    for found in _ATTRIBUTE.finditer(source):
        # Of two of a name the first counts.
        attributes.setdefault(found[1].lower(), unescape(found[2] or found[3] or found[4] or ""))
    return attributes


def _hides(attributes: Mapping[str, str]) -> bool:
    style = re.sub(r"/\*.*?\*/|\s+", "", attributes.get("style", "").lower(), flags=re.DOTALL)
    return "hidden" in attributes or "popover" in attributes or _HIDING.search(style) is not None
