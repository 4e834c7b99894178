"""From what a campaign says to the bytes of each mail (RFC 5322, RFC 2045 to 2047).

Headers and bodies that all its mails share are encoded once, by the standard library; what differs is joined in.
"""

import quopri
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from html import escape
from secrets import token_hex
from uuid import UUID

from chassis.email_address import EmailAddress

# RFC 2045 §6.7: no encoded line is longer.
_LINE = 72
_SOFT_BREAK = b"=\r\n"
# Nothing in a header may begin another one, whoever reads it.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail says and who says it."""

    from_name: str
    from_email: str
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The parts of a mail around what differs from recipient to recipient."""

    headers: bytes
    before_text_link: bytes
    before_html_link: bytes
    after_html_link: bytes
    links: bool

    def mail(self, *, to: str, message_id: UUID, hostname: str, unsubscribe_url: str = "") -> bytes:
        """The mail in CRLF lines. `unsubscribe_url` is needed where the skeleton was made with links."""
        pieces = [
            f"To: {to}\r\nMessage-ID: <{message_id}@{hostname}>\r\n"
            f"Date: {format_datetime(datetime.now(UTC))}\r\n".encode(),
        ]
        if self.links:
            pieces.append(
                f"List-Unsubscribe: <{unsubscribe_url}>\r\n"
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode()
            )
        text_link = _quoted_url(unsubscribe_url) if self.links else b""
        html_link = _quoted_url(escape(unsubscribe_url)) if self.links else b""
        pieces += [
            self.headers,
            self.before_text_link,
            text_link,
            self.before_html_link,
            html_link,
            self.after_html_link,
        ]
        return b"".join(pieces)


def skeleton(content: Content, *, links: bool) -> Skeleton:
    """Prepare the mails of a campaign, or a single one. `links`: each ends with its own unsubscribe link."""
    boundary = f"=_{token_hex(16)}"
    text_end = "\n\n-- \nUnsubscribe: " if links else "\n"
    html, html_end = (
        _with_footer(content.html, '<p style="font-size:small"><a href="', '">Unsubscribe</a></p>')
        if links
        else (content.html, "\n")
    )
    return Skeleton(
        headers=_shared_headers(content, boundary),
        before_text_link=_part(boundary, "plain") + _quoted(content.text + text_end) + _open_end(links),
        before_html_link=b"\r\n" + _part(boundary, "html") + _quoted(html) + _open_end(links),
        after_html_link=_open_end(links) + _quoted(html_end) + f"\r\n--{boundary}--\r\n".encode(),
        links=links,
    )


def wire_form(address: str) -> str:
    """An address as servers without RFC 6531 take it, where it has such a form: its domain in ASCII."""
    local, _, _ = address.rpartition("@")
    return f"{local}@{EmailAddress.parse(address).ascii_domain}" if local.isascii() else address


def _with_footer(html: str, before: str, after: str) -> tuple[str, str]:
    end = html.lower().rfind("</body>")
    end = len(html) if end < 0 else end
    return html[:end] + before, after + html[end:]


def _shared_headers(content: Content, boundary: str) -> bytes:
    local, _, domain = wire_form(content.from_email).rpartition("@")
    message = EmailMessage(policy=SMTP if local.isascii() else SMTPUTF8)
    message["From"] = Address(_one_line(content.from_name), username=local, domain=domain)
    message["Subject"] = _one_line(content.subject)
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = f'multipart/alternative; boundary="{boundary}"'
    folded = (message.policy.fold_binary(name, value) for name, value in message.items())
    return b"".join(folded) + b"\r\n"


def _part(boundary: str, subtype: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


def _quoted(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace")
    return quopri.encodestring(lines).replace(b"\n", b"\r\n")


def _open_end(links: bool) -> bytes:
    # What follows belongs to the same line for the reader.
    return _SOFT_BREAK if links else b""


def _quoted_url(text: str) -> bytes:
    encoded = [
        byte.encode() if byte.isalnum() or byte in "-_.:/?&;#%" else b"=%02X" % ord(byte) for byte in text
    ]
    lines, length = [b""], 0
    for piece in encoded:
        if length + len(piece) > _LINE:
            lines.append(b"")
            length = 0
        lines[-1] += piece
        length += len(piece)
    return _SOFT_BREAK.join(lines)


def _one_line(text: str) -> str:
    return " ".join(_CONTROLS.sub(" ", text).split())
