"""A mail as a stranger wrote it, read so that nothing in it can stop its reader: what cannot be decoded is read as far as it can."""

import re
from base64 import b64decode
from collections.abc import Iterator
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser, HeaderParser
from functools import cached_property
from html import unescape

# Of what comes in no more is looked at than this: bytes, parts, and letters of a part or a field. What a report says stands before the
# mail that it is about.
_MOST_READ = 256 * 1024
_MOST_PARTS = 50
_MOST_LETTERS = 20_000
_MOST_BYTES = 4 * _MOST_LETTERS
_MOST_FIELD = 2_000
# Of Python's own; some of them take their time.
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape"})
_PARSER = BytesParser(policy=policy.compat32)
_HEADER_PARSER = HeaderParser(policy=policy.compat32)
_TAG = re.compile(
    r"<(?:style|script)\b.{0,1000}?</(?:style|script)>|<[^<>]{0,1000}>", re.IGNORECASE | re.DOTALL
)
_LINE_END = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d)\b[^<>]{0,100}>", re.IGNORECASE)


class Fields:
    """Header fields, or fields of a report that look like them (RFC 3464 §2.1.1); names in any case."""

    def __init__(self, message: Message) -> None:
        self._fields = [(str(name).lower(), value) for name, value in message.raw_items()]

    @classmethod
    def of(cls, text: str) -> "Fields":
        """The fields that a text begins with."""
        return cls(_HEADER_PARSER.parsestr(text[:_MOST_LETTERS].lstrip("\r\n"), headersonly=True))

    def __contains__(self, name: str) -> bool:
        return any(found == name for found, _ in self._fields)

    def get(self, name: str) -> str:
        """The first of this name (in small letters) on one line, or nothing."""
        return next((_decoded(value) for found, value in self._fields if found == name), "")

    def all(self, name: str) -> list[str]:
        """All of this name."""
        return [_decoded(value) for found, value in self._fields if found == name]


class Part:
    """A part of a mail that has no parts itself, or is a message."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.content_type = message.get_content_type()
        self.fields = Fields(message)

    @cached_property
    def text(self) -> str:
        """What it says, whatever is wrong with its encoding; of a message, its header."""
        if (inner := _enclosed(self._message)) is not None:
            return "\n".join(map(_header_text, inner))
        said = _decode(_bytes(self._message)[:_MOST_BYTES], _charset(self._message))
        return said[:_MOST_LETTERS].replace("\r\n", "\n")

    @property
    def blocks(self) -> list[Fields]:
        """The groups of fields in it (RFC 3464 §2.1): of the message, and of each recipient."""
        if (inner := _enclosed(self._message)) is None:
            return _groups(self.text)
        blocks: list[Fields] = []
        for message in inner:
            blocks.append(Fields(message))
            # Of the types that the parser takes for mails, all groups but the first are what the mail says.
            if isinstance(rest := _payload(message), str):
                blocks += _groups(rest)
        return blocks


class Mail:
    """A mail; its parts in their order, those of enclosed messages left out."""

    def __init__(self, content: bytes) -> None:
        self._message = _parsed(content[:_MOST_READ])
        self.fields = Fields(self._message)
        self.parts = [Part(part) for part in _leaves(self._message)]

    @property
    def report_type(self) -> str:
        """What a multipart/report is about (RFC 6522), or nothing."""
        found = re.search(r"report-type\s*=\s*\"?([\w-]+)", self.fields.get("content-type"), re.IGNORECASE)
        return found.group(1).lower() if found else ""

    def part(self, *content_types: str) -> Part | None:
        """The first part of one of these types."""
        return next((part for part in self.parts if part.content_type in content_types), None)

    @cached_property
    def text(self) -> str:
        """What it says to people: its first part of text; as plain text if it is HTML."""
        if (plain := self.part("text/plain")) is not None and plain.text.strip():
            return plain.text
        if (html := self.part("text/html")) is not None:
            return unescape(_TAG.sub(" ", _LINE_END.sub("\n", html.text)))
        return ""

    @property
    def whole_text(self) -> str:
        """All that it says, where its parts cannot be told apart."""
        return "\n\n".join(part.text for part in self.parts)[:_MOST_LETTERS]

    @cached_property
    def returned(self) -> Fields | None:
        """The header of the mail that it is about, where that is enclosed or quoted at its end."""
        for part in reversed(self.parts):
            if part.content_type in (
                "message/rfc822",
                "message/global",
                "text/rfc822-headers",
                "message/global-headers",
            ):
                return Fields.of(part.text)
        return None


def _parsed(content: bytes) -> Message:
    # Parts within parts, without end: of such a mail the header is all.
    nested = content.lower().count(b"boundary") > _MOST_PARTS
    try:
        return _PARSER.parsebytes(content, headersonly=nested)
    except RecursionError:
        return _PARSER.parsebytes(content, headersonly=True)


def _leaves(message: Message) -> Iterator[Message]:
    waiting = [message]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        inner = _enclosed(part)
        if inner is not None and part.get_content_maintype() != "message":
            waiting[:0] = inner
        else:
            yield part


def _enclosed(message: Message) -> list[Message] | None:
    inner = _payload(message)
    if not isinstance(inner, list):
        return None
    return [each for each in inner[:_MOST_PARTS] if isinstance(each, Message)]


def _payload(message: Message) -> object:
    try:
        return message.get_payload()
    except (TypeError, ValueError, LookupError):
        # A charset in the manner of RFC 2231, which the library does not expect there.
        message.replace_header("Content-Type", message.get_content_type())
        return message.get_payload()


def _groups(text: str) -> list[Fields]:
    groups = re.split(r"\r?\n[ \t]*\r?\n", text[:_MOST_LETTERS])
    return [Fields.of(group) for group in groups[:_MOST_PARTS] if ":" in group]


def _header_text(message: Message) -> str:
    return "".join(f"{name}: {_decoded(value)}\n" for name, value in message.raw_items())


def _bytes(message: Message) -> bytes:
    try:
        content = message.get_payload(decode=True)
    except (TypeError, ValueError, LookupError, AssertionError):
        content = None
    raw = str(_payload(message)).encode("utf-8", "surrogateescape")
    if not isinstance(content, bytes):
        return raw
    if (
        content.rstrip() == raw.rstrip()
        and "base64" in str(message.get("Content-Transfer-Encoding", "")).lower()
    ):
        # It was cut off, or a gateway wrote below it: what there is of it is read all the same.
        letters = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
        return b64decode(letters[: len(letters) // 4 * 4])
    return content


def _charset(message: Message) -> str:
    found = re.search(r"charset\s*=\s*\"?([\w.:+-]+)", str(message.get("Content-Type", "")), re.IGNORECASE)
    return found.group(1) if found else "utf-8"


def _decode(content: bytes, charset: str) -> str:
    """As text that can be stored: without halves of characters."""
    for tried in (charset, "utf-8"):
        if tried.lower().replace("-", "_") not in _NO_CHARSETS:
            try:
                return content.decode(tried).encode(errors="replace").decode()
            except (LookupError, ValueError):
                continue
    return content.decode("latin-1")


def _decoded(value: object) -> str:
    """A field's value on one line, its encoded words (RFC 2047) read."""
    raw = str(value)[:_MOST_FIELD].encode("utf-8", "surrogateescape")
    text = _decode(raw, "utf-8")
    if "=?" in text:
        text = _words(text)
    return " ".join(text.replace("\0", "").split())


def _words(text: str) -> str:
    try:
        words = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(
        word if isinstance(word, str) else _decode(word, charset or "latin-1") for word, charset in words
    )
