"""DKIM signatures (RFC 6376, RFC 8463): relaxed headers, simple body.

A body of ours is quoted-printable, which nobody on the way has a reason to touch; so its canonical form is its own.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from textwrap import wrap

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from services.sending.dkim_keys import PrivateKey

# RFC 6376 §5.4.1, and what RFC 8058 §4 asks for. A second From is signed as absent, so that nobody can add one.
_SIGNED = (
    "from",
    "from",
    "to",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
)
_FIELD_ENDS = re.compile(rb"\r\n(?![ \t])")
_WHITE_SPACE = re.compile(rb"[ \t]+")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a domain, under the selector at which its public half is found."""

    domain: str
    selector: str
    key: PrivateKey

    @property
    def algorithm(self) -> str:
        """As `a=` says it."""
        return "ed25519-sha256" if isinstance(self.key, Ed25519PrivateKey) else "rsa-sha256"

    def sign(self, data: bytes) -> bytes:
        """The signature of canonical data. RSA-2048 takes some tenths of a millisecond, in which other threads run."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(sha256(data).digest())
        return self.key.sign(data, PKCS1v15(), SHA256())


def signatures(keys: Sequence[SigningKey], header: bytes, body: bytes, *, now: int) -> bytes:
    """A field for each key, to be put before the header. `header` and `body` are in CRLF lines; `now` in seconds since 1970."""
    fields = _canonical_fields(header)
    names = [name for name in dict.fromkeys(_SIGNED) if name in fields]
    names += [name for name in {name for name in _SIGNED if _SIGNED.count(name) > 1} if name in fields]
    signed = b"".join(fields[name] + b"\r\n" for name in dict.fromkeys(names))
    body_hash = b64encode(sha256(body.rstrip(b"\r\n") + b"\r\n").digest()).decode()
    return b"".join(_signature(key, names, signed, body_hash, now) for key in keys)


def _signature(key: SigningKey, names: Sequence[str], signed: bytes, body_hash: str, now: int) -> bytes:
    unsigned = (
        f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/simple; d={key.domain};\r\n"
        f" s={key.selector}; t={now};\r\n"
        f" h={':'.join(names)};\r\n"
        f" bh={body_hash};\r\n"
        " b="
    ).encode()
    signature = b64encode(key.sign(signed + _canonical(unsigned))).decode()
    return unsigned + "\r\n  ".join(wrap(signature, 72)).encode() + b"\r\n"


def _canonical_fields(header: bytes) -> dict[str, bytes]:
    """Fields by name, in canonical form. Ours has none twice."""
    fields = {}
    for field in _FIELD_ENDS.split(header.removesuffix(b"\r\n")):
        canonical = _canonical(field)
        fields[canonical.partition(b":")[0].decode()] = canonical
    return fields


def _canonical(field: bytes) -> bytes:
    """RFC 6376 §3.4.2: the name in small letters, the value unfolded, its white space single and none at its ends."""
    name, _, value = field.partition(b":")
    unfolded = _WHITE_SPACE.sub(b" ", value.replace(b"\r\n", b""))
    return name.strip().lower() + b":" + unfolded.strip()
