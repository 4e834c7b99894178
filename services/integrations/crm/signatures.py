"""Whether a post that says it is from a CRM is. HubSpot alone signs: Pipedrive shows a password, Salesforce nothing."""

from base64 import b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import SplitResult, urlsplit

from chassis.secret import Secret

# HubSpot refuses to sign for longer, and so do we believe it no longer.
_OLDEST = timedelta(minutes=5)
# What is signed has these as themselves, all other escapes as they came.
_UNESCAPED = {f"%{ord(sign):02X}": sign for sign in ":/?@!$'()*,;"}


def is_hubspot(
    secret: Secret, method: str, url: str, body: bytes, *, signature: str, timestamp: str, now: datetime
) -> bool:
    """Whether X-HubSpot-Signature-v3 is the app's, over this request, and its timestamp (milliseconds) recent.

    https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests: HMAC-SHA256 of method,
    URL, body and timestamp. `url` is the public one, as HubSpot was told it.
    """
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16):
        return False
    if abs(now.timestamp() - int(timestamp) / 1000) > _OLDEST.total_seconds():
        return False
    content = b"".join((method.encode(), _as_signed(urlsplit(url)).encode(), body, timestamp.encode()))
    expected = b64encode(digest(secret.reveal().encode(), content, sha256))
    return compare_digest(expected, signature.encode())


def _as_signed(url: SplitResult) -> str:
    """The query as it came; before it, a few escapes are undone."""
    path = url.path
    for escape, sign in _UNESCAPED.items():
        path = path.replace(escape, sign).replace(escape.lower(), sign)
    query = f"?{url.query}" if url.query else ""
    return f"{url.scheme}://{url.netloc}{path}{query}"
