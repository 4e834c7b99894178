"""Who is on the way to agree, at a CRM, that it is connected: OAuth 2.0 with PKCE, and a state that is good once.

The state that travels through the browser is signed, for one CRM, and names the organization and a row. The row says who began, holds
the verifier (RFC 7636 §4.1) sealed, and is taken out by whoever comes back first.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from sqlalchemy import delete, func, insert

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import NotFound
from chassis.identifiers import new_id
from chassis.links import LinkSigner
from chassis.secret import Secret
from chassis.vault.keyring import Keyring
from chassis.vault.wrapping import DoesNotOpen
from services.integrations.connections import Connector, ConnectorKind
from services.integrations.tables import authorizations

# RFC 9700 §4.5: a code, and so what it comes back to, lives for minutes.
LIFETIME = timedelta(minutes=10)

_TABLE = "authorizations"
_COLUMN = "sealed_verifier"
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Begun:
    """What somebody is sent to the CRM with."""

    id: UUID
    challenge: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Returned:
    """What was begun, as it comes back."""

    asked_by: Connector
    verifier: Secret


class States:
    """Signs and opens states, and says where the CRM leads back to. `public_url` is the gateway's, without a final slash."""

    def __init__(self, keys: Sequence[Secret], public_url: str) -> None:
        self._signer = LinkSigner(keys)
        self._public_url = public_url.rstrip("/")

    def state(self, provider: str, organization_id: UUID, authorization_id: UUID) -> str:
        """The state of what was begun."""
        return self._signer.sign(_purpose(provider), organization_id, authorization_id.bytes)

    def open(self, provider: str, state: str) -> tuple[RequestContext, UUID]:
        """The organization's context, and what was begun. Raises NotFound for any other text, and for that of another CRM."""
        context, payload = self._signer.open(_purpose(provider), state)
        if len(payload) != _ID_BYTES:
            raise NotFound("link")
        return context, UUID(bytes=payload)

    def redirect_uri(self, provider: str) -> str:
        """Where the CRM leads back to: the same for everybody, as it is registered with the CRM."""
        return f"{self._public_url}/v1/integrations/{provider}/callback"


async def begin(session: TenantSession, keyring: Keyring, provider: str, by: Connector) -> Begun:
    """Begin: what comes back within LIFETIME is taken in once."""
    authorization_id, verifier = new_id(), Secret(token_urlsafe(48))
    sealed = keyring.seal(verifier.reveal().encode(), table=_TABLE, row=authorization_id, column=_COLUMN)
    begun = await session.execute(
        insert(authorizations)
        .values(
            id=authorization_id,
            provider=provider,
            sealed_verifier=sealed,
            asked_by=by.id,
            asked_by_kind=by.kind,
            expires_at=func.now() + LIFETIME,
        )
        .returning(authorizations.c.expires_at)
    )
    return Begun(authorization_id, _challenge(verifier), begun.scalar_one())


async def take(session: TenantSession, keyring: Keyring, authorization_id: UUID) -> Returned | None:
    """Take out what was begun; None when it was taken out before, or is too old."""
    taken = await session.execute(
        delete(authorizations)
        .where(authorizations.c.id == authorization_id)
        .returning(authorizations, (authorizations.c.expires_at > func.now()).label("is_live"))
    )
    row = taken.one_or_none()
    if row is None or not row.is_live:
        return None
    try:
        verifier = keyring.open(row.sealed_verifier, table=_TABLE, row=authorization_id, column=_COLUMN)
    except DoesNotOpen:
        return None
    return Returned(Connector(row.asked_by, ConnectorKind(row.asked_by_kind)), verifier)


def _purpose(provider: str) -> str:
    return f"authorize-{provider}"


def _challenge(verifier: Secret) -> str:
    """S256 (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode()
