"""Quoted-printable (RFC 2045 §6.7) in pieces: each begins a line of its own, so that they can be encoded apart and joined."""

import re
from binascii import b2a_qp

# No line is longer, with the sign that it goes on.
_LINE = 76
_GOES_ON = b"=\r\n"
# What stands for itself, whatever follows: most names and numbers.
_PLAIN = re.compile("[A-Za-z0-9](?:[A-Za-z0-9 /:_-]{0,58}[A-Za-z0-9])?", re.ASCII)


def quoted(text: str) -> bytes:
    """A piece of a text in CRLF lines; unless it ends with a line break, the next piece goes on in its last line."""
    if _PLAIN.fullmatch(text):
        return text.encode() + _GOES_ON
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace")
    encoded = b2a_qp(lines, quotetabs=False, istext=True, header=False)
    if encoded and not encoded.endswith(b"\n"):
        encoded = _with_room_at_the_end(encoded) + b"=\n"
    return encoded.replace(b"\n", b"\r\n")


def joined(pieces: list[bytes]) -> bytes:
    """The whole text; its last line is not continued."""
    return b"".join(pieces).removesuffix(_GOES_ON)


def _with_room_at_the_end(encoded: bytes) -> bytes:
    line_begins = encoded.rfind(b"\n") + 1
    if len(encoded) - line_begins < _LINE:
        return encoded
    # Never within an escaped byte, which has three characters.
    cut = encoded.rfind(b"=", len(encoded) - 6)
    cut = cut if cut > line_begins else len(encoded) - 3
    return encoded[:cut] + b"=\n" + encoded[cut:]
