"""Derived keys: what the holder of an API key makes of it, offline, to hand on less than the whole.

A chain of HMAC-SHA256 as in macaroons (Birgisson et al., NDSS 2014). Its root is a key that follows from the API key's
secret. Each restriction is signed with the signature before it, and a derived key shows all of its restrictions but only
the last signature: whoever holds it can add a restriction and can take none away. It may do what the API key and every
restriction allow together, so one that would widen the others widens nothing.

The text form is `fnk_derived_<key id>_<restrictions>_<signature><checksum>`. The restrictions are lines, in base64url
without padding (RFC 4648, section 5), as is the signature; a line is `scopes <scope>,<scope>…` or `expires <Unix seconds>`.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Self
from uuid import UUID

from chassis import api_key

PREFIX = "fnk_derived_"
MOST_RESTRICTIONS = 8
LONGEST_RESTRICTION = 1024  # characters
LONGEST_TEXT = 2048  # characters

_ROOT = b"flownurture derived keys v1"
_SIGNATURE_LENGTH = 43  # of 32 bytes in base64url
_FORM = re.compile(
    rf"(?P<signed>{PREFIX}(?P<key_id>[0-9a-f]{{32}})_(?P<restrictions>[0-9A-Za-z_-]+)"
    rf"_(?P<signature>[0-9A-Za-z_-]{{{_SIGNATURE_LENGTH}}}))"
    rf"(?P<checksum>[0-9A-Za-z]{{{api_key.CHECKSUM_LENGTH}}})"
)
_SCOPE = "[a-z][a-z_]*:(?:read|write)"
_RESTRICTION = re.compile(
    rf"scopes (?P<scopes>{_SCOPE}(?:,{_SCOPE})*)|expires (?P<expires_at>[1-9][0-9]{{0,11}})"
)


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A well-formed derived key. That it is genuine only `is_signed_from` says.

    Raises ValueError when it is made of what `derive` never makes one of.
    """

    key_id: UUID
    restrictions: tuple[str, ...]
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not (
            1 <= len(self.restrictions) <= MOST_RESTRICTIONS
            and all(len(line) <= LONGEST_RESTRICTION for line in self.restrictions)
            and all(_RESTRICTION.fullmatch(line) for line in self.restrictions)
            and len(self.signature) == sha256().digest_size
        ):
            raise ValueError("not a derived key")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a derived key. Raises ValueError for any text that is not written as `derive` writes it."""
        match = _FORM.fullmatch(text) if len(text) <= LONGEST_TEXT else None
        if match is None or api_key.checksum(match["signed"]) != match["checksum"]:
            raise ValueError("not a derived key")
        try:
            lines = _decoded(match["restrictions"]).decode().split("\n")
            key = cls(UUID(hex=match["key_id"]), tuple(lines), _decoded(match["signature"]))
        except ValueError:
            raise ValueError("not a derived key") from None
        # Base64 can be written in more than one way.
        if key.text != text:
            raise ValueError("not a derived key")
        return key

    @property
    def text(self) -> str:
        """The text form; there is one for each derived key."""
        restrictions = _encoded("\n".join(self.restrictions).encode())
        signed = f"{PREFIX}{self.key_id.hex}_{restrictions}_{_encoded(self.signature)}"
        return signed + api_key.checksum(signed)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text: by it a derived key can be recognized where it must not be kept."""
        return sha256(self.text.encode()).digest()

    @property
    def scopes(self) -> frozenset[str] | None:
        """The scopes that every restriction leaves; None when none is about scopes."""
        left = [frozenset(scopes.split(",")) for scopes in self._values("scopes")]
        return frozenset.intersection(*left) if left else None

    @property
    def expires_at(self) -> int | None:
        """The earliest expiry in Unix seconds; None when there is none."""
        return min(map(int, self._values("expires_at")), default=None)

    def has_expired(self, now: float) -> bool:
        """Whether a restriction ends it, at this time in Unix seconds."""
        return self.expires_at is not None and self.expires_at <= now

    def is_signed_from(self, chain_key: bytes) -> bool:
        """Whether each restriction was added by a holder of what stood before it, the first by the API key's."""
        signature = _signature(chain_key, self.restrictions)
        return hmac.compare_digest(signature, self.signature)

    def _values(self, name: str) -> list[str]:
        matches = (_RESTRICTION.fullmatch(line) for line in self.restrictions)
        return [match[name] for match in matches if match is not None and match[name] is not None]


def chain_key(text: str) -> bytes:
    """The root of the chain of an API key, for its holder, and for who must check chains. Raises ValueError."""
    _, secret = api_key.take_apart(text)
    return hmac.digest(secret, _ROOT, sha256)


def derive(text: str, *, scopes: Collection[str] | None = None, expires_at: datetime | None = None) -> str:
    """A narrower key from an API key, or from a derived one: with these scopes only, until this time only, or both.

    Takes nothing but the text, and asks nobody. `expires_at` has a time zone and is cut to its second. Raises ValueError
    for a text that is no key, for nothing to narrow it to, for what would widen a derived key, and beyond 8 restrictions or
    2,048 characters. Scopes that the API key itself does not have are not refused here, and are worth nothing.
    """
    added = _restrictions(scopes, expires_at)
    if text.startswith(PREFIX):
        parent = DerivedKey.parse(text)
        _refuse_widening(parent, scopes, expires_at)
        derived = DerivedKey(
            parent.key_id, parent.restrictions + added, _signature(parent.signature, added)
        ).text
    else:
        key_id, _ = api_key.take_apart(text)
        derived = DerivedKey(key_id, added, _signature(chain_key(text), added)).text
    if len(derived) > LONGEST_TEXT:
        raise ValueError(f"a derived key has at most {LONGEST_TEXT:,} characters")
    return derived


def _restrictions(scopes: Collection[str] | None, expires_at: datetime | None) -> tuple[str, ...]:
    lines = []
    if scopes is not None:
        lines.append(f"scopes {','.join(sorted(set(scopes)))}")
    if expires_at is not None:
        if expires_at.tzinfo is None:
            raise ValueError("expires_at must have a time zone")
        lines.append(f"expires {int(expires_at.timestamp())}")
    if not lines:
        raise ValueError("there is nothing to narrow the key to")
    return tuple(lines)


def _refuse_widening(parent: DerivedKey, scopes: Collection[str] | None, expires_at: datetime | None) -> None:
    if scopes is not None and parent.scopes is not None and not parent.scopes.issuperset(scopes):
        raise ValueError("a derived key cannot have scopes that its parent lacks")
    if (
        expires_at is not None
        and parent.expires_at is not None
        and expires_at.timestamp() > parent.expires_at
    ):
        raise ValueError("a derived key cannot outlive its parent")


def _signature(key: bytes, lines: Iterable[str]) -> bytes:
    """The last signature of a chain that goes on from this key or signature."""
    for line in lines:
        key = hmac.digest(key, line.encode(), sha256)
    return key


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
