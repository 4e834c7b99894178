"""Refresh tokens: opaque, 256 bits, used once; only their SHA-256 is stored.

Each use replaces a token by its successor. The successor is an HMAC, keyed with the token itself, of a salt that is
stored until the successor is used in turn. So whoever holds the direct predecessor and lost the answer can be given
the very same successor again, for a short while, and a session never has two living tokens; and what is stored never
suffices to make one. Any other use of a replaced token means that two parties hold it.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Self
from uuid import UUID

from sqlalchemy import case, func, insert, select, update

from chassis.database import TenantSession
from chassis.errors import Unauthenticated
from services.identity.session_lifetimes import is_live_session
from services.identity.tables import refresh_tokens, sessions

# How long the answer with the successor may be asked for again.
GRACE = timedelta(seconds=30)

_PREFIX = "fnr_"
_BYTES = 32
_LENGTH = len(_PREFIX) + 43  # base64url of 32 bytes, without padding


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A token as its holder knows it."""

    _key: bytes

    @classmethod
    def mint(cls) -> Self:
        """A token from fresh random bits."""
        return cls(secrets.token_bytes(_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token; Unauthenticated for what cannot be one."""
        try:
            token = cls(urlsafe_b64decode(text.removeprefix(_PREFIX).encode("ascii") + b"="))
        except ValueError:
            raise Unauthenticated("The refresh token is not valid.") from None
        if len(text) != _LENGTH or token.text != text:
            raise Unauthenticated("The refresh token is not valid.")
        return token

    @property
    def text(self) -> str:
        """What the holder keeps."""
        return _PREFIX + urlsafe_b64encode(self._key).decode().rstrip("=")

    @property
    def digest(self) -> bytes:
        """What is stored."""
        return sha256(self._key).digest()

    def successor(self, salt: bytes) -> Self:
        """The token that replaces this one."""
        return type(self)(hmac.digest(self._key, salt, "sha256"))

    def __repr__(self) -> str:
        return "RefreshToken(***)"


async def store(session: TenantSession, session_id: UUID, token: RefreshToken) -> None:
    """Make the token the session's living one."""
    await session.execute(insert(refresh_tokens).values(session_id=session_id, digest=token.digest))


class Reused(Exception):
    """A replaced token was used again: somebody else holds it too."""


async def exchange(session: TenantSession, token: RefreshToken) -> RefreshToken:
    """The token's successor.

    Raises Unauthenticated when the session has ended, and Reused when the token was replaced, unless its successor is
    still unused and no older than GRACE.
    """
    # Both rows are locked, so that of two exchanges at once the second sees what the first has done; the session
    # first, as in its deletion, so that the two cannot deadlock.
    row = (
        await session.execute(
            select(
                refresh_tokens.c.session_id,
                refresh_tokens.c.replaced_at,
                refresh_tokens.c.successor_salt,
                (refresh_tokens.c.replaced_at > func.now() - GRACE).label("within_grace"),
            )
            .join_from(sessions, refresh_tokens, refresh_tokens.c.session_id == sessions.c.id)
            .where(refresh_tokens.c.digest == token.digest, is_live_session())
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        raise Unauthenticated("The session has ended.")
    if row.replaced_at is None:
        return await _replace(session, row.session_id, token)
    if row.within_grace and row.successor_salt is not None:
        return token.successor(row.successor_salt)
    raise Reused


async def _replace(session: TenantSession, session_id: UUID, token: RefreshToken) -> RefreshToken:
    salt = secrets.token_bytes(_BYTES)
    successor = token.successor(salt)
    is_this = refresh_tokens.c.digest == token.digest
    # The predecessor's salt goes: it is no direct predecessor any more.
    await session.execute(
        update(refresh_tokens)
        .where(
            refresh_tokens.c.session_id == session_id, is_this | refresh_tokens.c.successor_salt.is_not(None)
        )
        .values(
            successor_salt=case((is_this, salt)),
            replaced_at=func.coalesce(refresh_tokens.c.replaced_at, func.now()),
        )
    )
    await store(session, session_id, successor)
    await session.execute(update(sessions).where(sessions.c.id == session_id).values(last_used_at=func.now()))
    return successor
