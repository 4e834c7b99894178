"""Header values as people read them."""

from email.errors import HeaderParseError
from email.header import decode_header, make_header


def header_text(value: bytes) -> str:
    """Unfold a header's value and decode its encoded words (RFC 2047); what cannot be decoded stays as it is."""
    text = value.replace(b"\r", b"").replace(b"\n", b"").decode("utf-8", "replace").strip()
    if "=?" not in text:
        return text
    try:
        # A charset may decode to lone surrogates, which are no text.
        return str(make_header(decode_header(text))).encode("utf-8", "replace").decode()
    except (HeaderParseError, LookupError, ValueError):
        return text
