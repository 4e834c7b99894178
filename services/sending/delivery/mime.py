"""From what a mailing says to the bytes of each mail (RFC 5322, RFC 2045 to 2047).

What all its mails share is encoded once: the fields of its sender, and the texts between the marks of its templates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from secrets import token_hex
from time import time
from typing import TypeAlias
from uuid import UUID

from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from services.sending.delivery.headers import mailbox, unstructured
from services.sending.delivery.quoted_printable import joined, quoted
from services.sending.opt_out_footer import HtmlFooter, OptingOut, TextFooter, with_footer
from services.sending.templating.bounds import MOST_OUTPUT, TooLong
from services.sending.templating.mailing import Mailing, Words
from services.sending.tracking.places import PLACE

# As the contract has it of what is written; a template can make more of it.
_LONGEST_SUBJECT = 998
_QUOTED_PLACE = quoted(PLACE)

# A field of ASCII of our own, as name and value, in one line.
Field: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sender:
    """From whom a mail comes."""

    name: str
    email: str
    # Where answers go, if not there.
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Addressee:
    """To whom a mail goes, and what its templates say of them."""

    message_id: UUID
    to: str
    data: Mapping[str, object]
    # None for mail that offers no opting out.
    opting_out: OptingOut | None = None
    # What their pixel and links end with, where the mailing has places for it.
    tracking_token: str = ""
    # A field for whom the mail is handed to, in one line; empty where it is for nobody.
    carried: bytes = b""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in CRLF lines: its fields, and what follows the empty line behind them."""

    header: bytes
    body: bytes

    @property
    def content(self) -> bytes:
        """All of it."""
        return self.header + b"\r\n" + self.body


class Skeleton:
    """The mails of a mailing, but for what differs from recipient to recipient."""

    def __init__(self, sender: Sender, mailing: Mailing, hostname: str, fields: Sequence[Field] = ()) -> None:
        self._hostname = hostname
        self._subject = mailing.subject
        self._fixed_subject = (
            unstructured("Subject", mailing.subject.text({})) if mailing.subject.is_literal else None
        )
        boundary = f"=_{token_hex(16)}"
        self._sender = mailbox("From", sender.name, wire_form(sender.email))
        if sender.reply_to:
            self._sender += mailbox("Reply-To", "", wire_form(sender.reply_to))
        self._fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
        self._content_type = (
            f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{boundary}"\r\n'
        ).encode()
        self._text = _Part(mailing.text, TextFooter())
        self._html = _Part(mailing.html, HtmlFooter(mailing.html))
        self._before_text = _part_begins(boundary, "plain")
        self._before_html = b"\r\n" + _part_begins(boundary, "html")
        self._after_html = f"\r\n--{boundary}--\r\n".encode()
        self.internationalized = not self._sender.isascii()

    def mail(self, addressee: Addressee) -> Mail:
        """The mail to somebody. Raises TemplateError, TooLong, InvalidRequest when they would not see how to opt out."""
        header = (
            self._sender,
            f"To: {addressee.to}\r\n".encode(),
            self._fixed_subject or self._subject_to(addressee),
            f"Message-ID: <{addressee.message_id}@{self._hostname}>\r\n".encode(),
            _date(int(time())),
            _opting_out(addressee.opting_out),
            self._fields,
            addressee.carried,
            self._content_type,
        )
        body = (
            self._before_text,
            self._text.encoded(addressee),
            self._before_html,
            self._html.encoded(addressee),
            self._after_html,
        )
        return Mail(b"".join(header), b"".join(body))

    def _subject_to(self, addressee: Addressee) -> bytes:
        subject = self._subject.text(addressee.data)
        if len(subject) > _LONGEST_SUBJECT:
            told = f"has {len(subject):,} characters in this mail, and may have {_LONGEST_SUBJECT}"
            raise InvalidRequest(
                FieldViolation("subject", told), message=f"The mail cannot be sent. subject {told}"
            )
        return unstructured("Subject", subject)


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}\r\n".encode()


def wire_form(address: str) -> str:
    """An address as servers without RFC 6531 take it, where it has such a form: its domain in ASCII."""
    local, _, _ = address.rpartition("@")
    return f"{local}@{EmailAddress.parse(address).ascii_domain}" if local.isascii() else address


def _opting_out(ways: OptingOut | None) -> bytes:
    """RFC 2369, the better way first, and RFC 8058: one click."""
    if ways is None:
        return b""
    return (
        f"List-Unsubscribe: <{ways.url}>,\r\n <mailto:{ways.address}?subject=unsubscribe>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    ).encode()


def _part_begins(boundary: str, subtype: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


class _Part:
    """A body. Whoever can opt out finds the link in it: where its words put it, else in a footer."""

    def __init__(self, words: Words, footer: TextFooter | HtmlFooter) -> None:
        self._words = words
        self._footer = footer
        self._literals = {literal: _encoded(footer.parts_of(literal)) for literal in words.literals}

    def encoded(self, addressee: Addressee) -> bytes:
        """What is said to them, in quoted-printable. Raises TemplateError, TooLong, InvalidRequest."""
        pieces = _Pieces(self._literals, addressee.tracking_token)
        self._words.render(addressee.data, pieces)
        ways = addressee.opting_out
        footer = self._footer.of(pieces.written, ways) if ways else ""
        return joined(with_footer(pieces.encoded, pieces.end, quoted(footer)))


def _encoded(parts: tuple[str, ...]) -> bytes | tuple[tuple[bytes, ...], ...]:
    """All of a literal, or what stands around footers and tokens."""
    encoded = tuple(map(_around_tokens, parts))
    return encoded[0][0] if len(encoded) == len(encoded[0]) == 1 else encoded


def _around_tokens(literal: str) -> tuple[bytes, ...]:
    return tuple(map(quoted, literal.split(PLACE)))


class _Pieces:
    """Takes a rendering piece by piece; knows those that are the same in every mail.

    Each is in two where a footer may stand between, and each of these in as many as tokens stand between; most are in one.
    """

    __slots__ = ("_literals", "_quoted_token", "_size", "_token", "encoded", "end", "written")

    def __init__(self, literals: Mapping[str, bytes | tuple[tuple[bytes, ...], ...]], token: str) -> None:
        self._literals = literals
        self._token = token
        # Without a token, a place is a character as any other.
        self._quoted_token = quoted(token) if token else _QUOTED_PLACE
        self._size = 0
        self.written: list[str] = []
        self.encoded: list[bytes] = []
        # Before which of these the body ended that was written last.
        self.end: int | None = None

    def write(self, text: str, /) -> int:
        """Take a piece. Raises TooLong."""
        size = len(text)
        self._size += size
        if self._size > MOST_OUTPUT:
            raise TooLong
        self.written.append(text)
        known = self._literals.get(text)
        if known is None:
            # What a template captured and shows later is no literal any more.
            self.encoded.append(quoted(text.replace(PLACE, self._token or PLACE) if PLACE in text else text))
        elif isinstance(known, bytes):
            self.encoded.append(known)
        else:
            self.encoded += map(self._quoted_token.join, known)
            if len(known) > 1:
                self.end = len(self.encoded) - 1
        return size
