"""Access tokens: JWTs (RFC 7519, RFC 9068 header) that live ten minutes.

A token only names the session. What the session may do is asked of the grants at each request, so nothing in here has
to be taken back when a role changes.
"""

import time
from collections.abc import Callable
from uuid import UUID, uuid4

import jwt

from services.identity.signing_keys import SigningKeys

LIFETIME = 600  # seconds


class AccessTokens:
    """Issues the tokens of one issuer for one audience."""

    def __init__(
        self, keys: SigningKeys, *, issuer: str, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    @property
    def jwks(self) -> bytes:
        """What the tokens are verified with: a JWK set (RFC 7517)."""
        return self._keys.jwks

    def issue(self, *, user_id: UUID, session_id: UUID, organization_id: UUID | None) -> str:
        """A token for the session, valid from now."""
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": now,
            "exp": now + LIFETIME,
            "jti": str(uuid4()),
        }
        if organization_id is not None:
            claims["org"] = str(organization_id)
        return jwt.encode(
            claims,
            self._keys.private_key,
            algorithm="EdDSA",
            headers={"kid": self._keys.key_id, "typ": "at+jwt"},
        )
