"""Access tokens: JWTs (RFC 7519) with the type of RFC 9068, signed by identity with Ed25519 (RFC 8037)."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt import PyJWK, PyJWKSet
from jwt.utils import base64url_decode

from chassis.errors import Unauthenticated, Unavailable
from gateway.shared_calls import SharedCalls

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
LONGEST_LIFE = 600  # seconds that a token may be valid in all
_LEEWAY = 5  # seconds by which clocks may differ
_REFRESH_AFTER = 300.0  # seconds after which keys are fetched anew, so that one withdrawn is not trusted on
_UNKNOWN_KEY_PAUSE = 2.0  # seconds between fetches for key ids that nobody knows
_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp"]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified token says."""

    session_id: UUID
    expires_at: float


class KeySet:
    """Identity's public keys, fetched when they are needed and not known."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetches: SharedCalls[str, None] = SharedCalls()

    async def key(self, key_id: str) -> PyJWK:
        """The key of an id. Raises Unauthenticated for one that identity does not publish."""
        age = self._clock() - self._fetched_at
        known = key_id in self._keys
        if age > (_REFRESH_AFTER if known else _UNKNOWN_KEY_PAUSE):
            try:
                await self._fetches.share("keys", self._refresh)
            except Unavailable:
                # A key that was good a while ago is still the best that is known.
                if not known:
                    raise
        try:
            return self._keys[key_id]
        except KeyError:
            raise Unauthenticated from None

    async def _refresh(self) -> None:
        published = PyJWKSet.from_json((await self._fetch()).decode())
        # A key of another kind has no business here, and must never meet a token.
        self._keys = {
            key.key_id: key
            for key in published.keys
            if key.key_id is not None and isinstance(key.key, Ed25519PublicKey)
        }
        self._fetched_at = self._clock()


class AccessTokenVerifier:
    """Checks the tokens of one issuer for one audience."""

    def __init__(self, keys: KeySet, *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def verify(self, token: str) -> AccessToken:
        """What the token says; raises Unauthenticated unless every part of it is as it must be."""
        try:
            _refuse_other_encodings(token)
            header = jwt.get_unverified_header(token)
            if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
                raise Unauthenticated
            key = await self._keys.key(str(header.get("kid")))
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY,
                options={"require": _CLAIMS, "strict_aud": True},
            )
            return self._read(claims)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated from None

    def _read(self, claims: dict[str, Any]) -> AccessToken:
        if not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFE:
            raise ValueError("lives too long")
        return AccessToken(UUID(str(claims["sid"])), float(claims["exp"]) + _LEEWAY)


def _refuse_other_encodings(token: str) -> None:
    """RFC 8725, section 3.7: UTF-8 and no other. Python's reader of JSON would take UTF-16 and UTF-32 as well."""
    for part in token.split(".")[:2]:
        if json.detect_encoding(base64url_decode(part)) != "utf-8":
            raise ValueError("not in UTF-8")
