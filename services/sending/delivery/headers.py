"""Header fields whose text comes from outside (RFC 5322, RFC 2047). Nothing in a text can begin another field."""

import re
from base64 import b64encode
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# RFC 5322 §2.1.1 asks for lines of 78 characters, RFC 2047 §2 for encoded words of 75.
_LINE = 78
_BYTES_OF_A_WORD = 45


def one_line(text: str) -> str:
    """A text without line breaks and other controls, its white space single."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def unstructured(name: str, text: str) -> bytes:
    """A field of free text: as it is where it is short ASCII, else in encoded words, one in a line."""
    text = one_line(text)
    if text.isascii() and "=?" not in text and len(name) + 2 + len(text) <= _LINE:
        return f"{name}: {text}\r\n".encode()
    words = (f"=?utf-8?b?{b64encode(part).decode()}?=" for part in _parts(text))
    return f"{name}: ".encode() + "\r\n ".join(words).encode() + b"\r\n"


def mailbox(name: str, display_name: str, address: str) -> bytes:
    """A field of one mailbox, its domain in the form that it is sent in."""
    local, _, domain = address.rpartition("@")
    message = EmailMessage(policy=SMTP if local.isascii() else SMTPUTF8)
    message[name] = Address(one_line(display_name), username=local, domain=domain)
    return b"".join(message.policy.fold_binary(*item) for item in message.items())


def _parts(text: str) -> list[bytes]:
    """The text in UTF-8, cut between characters."""
    encoded, parts = text.encode(errors="replace"), []
    while len(encoded) > _BYTES_OF_A_WORD:
        cut = _BYTES_OF_A_WORD
        # A byte of this form goes on with a character (RFC 3629 §3).
        while encoded[cut] & 0b1100_0000 == 0b1000_0000:
            cut -= 1
        parts.append(encoded[:cut])
        encoded = encoded[cut:]
    return [*parts, encoded]
