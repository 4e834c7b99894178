"""A message taken apart for reading: headers and parts as text, whatever state it is in."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Any

from deploy.local.mailbox.headers import header_text


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has no parts. What is no text comes as base64, `encoding` says which."""

    content_type: str
    charset: str
    encoding: str
    filename: str
    content: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message holds; `headers` maps each name, as first spelt, to its values in their order."""

    headers: dict[str, list[str]]
    parts: list[Part]


def read(content: bytes) -> Reading:
    """Take a message apart. Never raises: what cannot be decoded is replaced."""
    message = message_from_bytes(content)
    return Reading(_headers(message), list(_parts(message)))


def as_text(content: bytes) -> str:
    """The whole message as text: UTF-8 if it is that, else byte by byte."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _headers(message: "Message[str, str]") -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for name, value in message.raw_items():
        first = spelling.setdefault(name.lower(), name)
        headers.setdefault(_clean(first), []).append(header_text(_bytes(value)))
    return headers


def _parts(message: "Message[str, str]") -> Iterator[Part]:
    payload: Any = message.get_payload()
    if isinstance(payload, list) and message.get_content_maintype() == "multipart":
        for part in payload:
            yield from _parts(part)
    else:
        yield _part(message, payload)


def _part(message: "Message[str, str]", payload: Any) -> Part:
    content_type = message.get_content_type()
    charset = _charset_of(message)
    if isinstance(payload, list):
        content = b"\n".join(part.as_bytes() for part in payload)
    else:
        decoded = message.get_payload(decode=True)
        content = decoded if isinstance(decoded, bytes) else _bytes(str(payload))
    if message.get_content_maintype() in ("text", "message"):
        return Part(content_type, charset, "text", _filename_of(message), _decode(content, charset))
    return Part(content_type, "", "base64", _filename_of(message), base64.b64encode(content).decode())


def _charset_of(message: "Message[str, str]") -> str:
    return _clean(message.get_content_charset() or "us-ascii")


def _filename_of(message: "Message[str, str]") -> str:
    return _clean(message.get_filename() or "")


def _decode(content: bytes, charset: str) -> str:
    try:
        # Mail that says ASCII, or nothing, is often UTF-8, which contains it. A lone surrogate is no text.
        text = content.decode("utf-8" if charset == "us-ascii" else charset, "replace")
    except (LookupError, ValueError):
        text = content.decode("latin-1")
    return _clean(text)


def _bytes(text: str) -> bytes:
    """What the parser read, which escapes bytes outside of ASCII."""
    return text.encode("utf-8", "surrogateescape")


def _clean(text: str) -> str:
    """Text that is text: lone surrogates are replaced."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
