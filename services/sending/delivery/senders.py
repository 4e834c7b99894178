"""As whom a mail goes out: from its own domain where that is verified, else from the platform's, which answers reach all the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database, TenantSession
from chassis.vault.keyring import Keyring
from chassis.vault.vault import Vault
from services.sending.delivery.dkim import SigningKey
from services.sending.delivery.mime import Sender, wire_form
from services.sending.dkim_keys import load
from services.sending.domain_records import return_path

# So long a key goes on signing that was replaced, and a domain's mail comes from it that failed.
_KNOWN_SECONDS = 60.0
_MOST_KNOWN = 10_000

_KEYS = text("""
    SELECT key.id, key.selector, key.sealed_key
    FROM domains AS domain
    JOIN dkim_keys AS key ON key.organization_id = domain.organization_id AND key.domain_id = domain.id
    WHERE domain.name = :name AND domain.status = 'verified'
      AND key.found_at IS NOT NULL AND key.retired_at IS NULL
    ORDER BY key.id
""")


@dataclass(frozen=True, slots=True)
class Identity:
    """A sender, the keys that vouch for it, and the domain that its bounces go to."""

    sender: Sender
    keys: Sequence[SigningKey]
    return_domain: str


class Senders:
    """Knows for a minute which domains are verified, and their keys."""

    def __init__(self, database: Database, vault: Vault, *, shared_domain: str, hostname: str) -> None:
        self._database = database
        self._vault = vault
        self._shared_domain = shared_domain
        self._hostname = hostname
        self._known: dict[tuple[UUID, str], tuple[float, Sequence[SigningKey]]] = {}
        # Of the platform's own domain, as they were when they were last looked at.
        self._shared_keys: Sequence[SigningKey] = ()

    async def refresh(self) -> None:
        """Look at the platform's own domain again, if that is due; not from within a transaction of a tenant's."""
        if self._recall(PLATFORM, self._shared_domain) is None:
            context = RequestContext.of_process("delivery", PLATFORM)
            async with self._database.tenant_transaction(context, read_only=True) as session:
                self._shared_keys = await self._keys_of(session, self._shared_domain)

    async def identity(self, session: TenantSession, name: str, email: str) -> Identity:
        """As whom this sender's mail goes out."""
        organization, domain = session.context.organization, wire_form(email).rpartition("@")[2]
        keys = await self._keys_of(session, domain)
        if keys:
            return Identity(Sender(name, email), keys, return_path(domain))
        if organization == PLATFORM:
            return Identity(Sender(name, email), (), self._hostname)
        own_mailbox = f"{organization.hex[-12:]}@{self._shared_domain}"
        return Identity(Sender(name or email, own_mailbox, reply_to=email), self._shared_keys, self._hostname)

    async def _keys_of(self, session: TenantSession, domain: str) -> Sequence[SigningKey]:
        organization = session.context.organization
        known = self._recall(organization, domain)
        if known is None:
            known = await self._read(session, domain)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[organization, domain] = (monotonic() + _KNOWN_SECONDS, known)
        return known

    async def _read(self, session: TenantSession, domain: str) -> Sequence[SigningKey]:
        rows = (await session.execute(_KEYS, {"name": domain})).all()
        if not rows:
            return ()
        keyring = await self._vault.keyring_to_open(session)
        return [_signing_key(keyring, domain, row) for row in rows]

    def _recall(self, organization: UUID, domain: str) -> Sequence[SigningKey] | None:
        until, keys = self._known.get((organization, domain), (0.0, ()))
        return keys if monotonic() < until else None


def _signing_key(keyring: Keyring, domain: str, row: Row[Any]) -> SigningKey:
    sealed = bytes(row.sealed_key)
    private = keyring.open_bytes(sealed, table="dkim_keys", row=row.id, column="sealed_key")
    return SigningKey(domain, row.selector, load(private.reveal()))
