"""Tokens in mails about accounts: 256 random bits, used once, of which only the SHA-256 is stored.

A person has one living token for each purpose: a newer mail makes an older one void.
"""

import secrets
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.secret import Secret
from services.identity.tables import account_tokens


class Purpose(StrEnum):
    """What a token is good for."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose, no password


LIFETIMES = {Purpose.VERIFY_EMAIL: timedelta(hours=24), Purpose.RESET_PASSWORD: timedelta(hours=1)}


class TokenNotValid(InvalidRequest):
    """A token that is none, was used, is void or has expired: which of these is not told."""

    def __init__(self) -> None:
        super().__init__(FieldViolation("token", "is not valid, was used already, or has expired"))


def mint() -> Secret:
    """A fresh token, as a link carries it."""
    return Secret(secrets.token_urlsafe(32))


def digest_of(token: Secret) -> bytes:
    """What is stored of a token."""
    return sha256(token.reveal().encode()).digest()


async def issue(session: TenantSession, user_id: UUID, purpose: Purpose) -> Secret:
    """A token for a member of the context's organization."""
    token = mint()
    values = {
        "digest": digest_of(token),
        "created_at": func.now(),
        "expires_at": func.now() + LIFETIMES[purpose],
    }
    await session.execute(
        insert(account_tokens)
        .values(user_id=user_id, purpose=purpose, **values)
        .on_conflict_do_update(index_elements=["user_id", "purpose"], set_=values)
    )
    return token


async def redeem(session: TenantSession, token: Secret, purpose: Purpose) -> None:
    """Use a token up; TokenNotValid when somebody else has, or time."""
    used = await session.execute(
        delete(account_tokens).where(
            account_tokens.c.digest == digest_of(token),
            account_tokens.c.purpose == purpose,
            account_tokens.c.expires_at > func.now(),
        )
    )
    if used.rowcount != 1:
        raise TokenNotValid
