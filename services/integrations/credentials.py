"""Access to a connected account: the token of now, renewed ahead of its end by one process at a time.

A token is renewed under a lease and not under a lock, since a CRM may take its time to answer: no transaction is open meanwhile, and
whoever disconnects does not wait. See ADR 0041.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from chassis.logs import logger
from chassis.secret import Secret
from chassis.vault.vault import Vault
from services.integrations import grants, revocations
from services.integrations.connections import Connection, Method, ask_for_authorization
from services.integrations.crm.errors import CrmError, Unauthorized
from services.integrations.grants import HeldGrant, grant_of
from services.integrations.offers import NotSetUp, Offers

# A token that ends sooner is renewed before it is used: a request to a CRM may take so long.
_AHEAD = timedelta(minutes=2)
# Longer than an answer of a CRM is waited for.
_LEASE = timedelta(seconds=60)
_PATIENCE_SECONDS = 75.0
_LOOK_AGAIN_SECONDS = 0.1


class Disconnected(Unauthorized):
    """The connection is gone: nothing more may be done by it."""


class NeedsAuthorization(Unauthorized):
    """The CRM no longer takes what the account was connected with; the connection says so."""


class Credentials:
    """The credentials of all connections, as one process uses them."""

    def __init__(self, database: Database, vault: Vault, offers: Offers) -> None:
        self._database = database
        self._vault = vault
        self._offers = offers
        self._renewals: set[asyncio.Task[Secret | None]] = set()

    def access(self, context: RequestContext, connection: Connection) -> "Access":
        """Access to a connected account, on behalf of the context's organization."""
        return Access(self, context, connection)

    async def held(self, context: RequestContext, connection: Connection) -> HeldGrant:
        """What is held now. Raises Disconnected, NeedsAuthorization."""
        async with self._database.tenant_transaction(context) as session:
            found = await grants.held(session, await self._vault.keyring(session), connection.id)
        if found is None:
            raise Disconnected
        if found.is_refused:
            raise NeedsAuthorization
        return found

    async def lease(self, context: RequestContext, connection: Connection, version: int) -> bool:
        """Have the renewal of this version to oneself."""
        async with self._database.tenant_transaction(context) as session:
            return await grants.lease(session, connection.id, version, _LEASE)

    async def renew(
        self, context: RequestContext, connection: Connection, version: int, refresh_token: Secret
    ) -> Secret | None:
        """Renew under the lease; None when somebody else has put another grant in its place.

        It ends what it has begun though its caller goes away: a CRM that has answered takes the old refresh token no more.
        """
        renewal = asyncio.create_task(self._renew(context, connection, version, refresh_token))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)
        return await asyncio.shield(renewal)

    async def refuse(self, context: RequestContext, connection: Connection, version: int) -> bool:
        """Note that the CRM takes this version no more; False when it is the present one no more."""
        async with self._database.tenant_transaction(context) as session:
            is_present = await grants.release(session, connection.id, version)
            if is_present:
                await ask_for_authorization(session, connection.id, "The CRM refused the credentials.")
        return is_present

    async def _renew(
        self, context: RequestContext, connection: Connection, version: int, refresh_token: Secret
    ) -> Secret | None:
        try:
            tokens = await self._offers.oauth(connection.provider).refresh(refresh_token)
        except Unauthorized:
            if await self.refuse(context, connection, version):
                raise NeedsAuthorization from None
            return None
        except (CrmError, NotSetUp):
            async with self._database.tenant_transaction(context) as session:
                await grants.release(session, connection.id, version)
            raise
        # A refresh token that is not replaced stays good (RFC 6749 §6).
        grant = replace(grant_of(tokens), refresh_token=tokens.refresh or refresh_token)
        async with self._database.tenant_transaction(context) as session:
            keyring = await self._vault.keyring(session)
            if await grants.replace(session, keyring, connection.id, version, grant):
                return grant.token
            if tokens.refresh is not None and await grants.held(session, keyring, connection.id) is None:
                # Disconnected meanwhile: what was revoked then is not what the CRM has just given.
                await revocations.order(session, keyring, connection.provider, tokens.refresh)
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """Access to one account. It looks at the connection each time it is asked, so nothing more is done with one that is gone."""

    _credentials: Credentials
    _context: RequestContext
    _connection: Connection

    @property
    def base_url(self) -> str:
        """Where the account's interface is."""
        return self._connection.base_url

    @property
    def is_api_key(self) -> bool:
        """Whether what opens it is a key of the account's own."""
        return self._connection.method is Method.API_KEY

    async def token(self) -> Secret:
        """What to send now. Raises Disconnected, NeedsAuthorization, what the CRM's OAuth raises, and Unavailable."""
        held = await self._held()
        if held.remaining is None or held.remaining > _AHEAD:
            return held.token
        if held.remaining <= timedelta(0):
            return await self._renewed(held)
        return await self._renewed_ahead(held)

    async def renewed(self, stale: Secret) -> Secret:
        """What to send instead of this, which the CRM has just refused. Raises as `token` does."""
        held = await self._held()
        return held.token if held.token != stale else await self._renewed(held)

    async def _held(self) -> HeldGrant:
        return await self._credentials.held(self._context, self._connection)

    async def _renewed_ahead(self, held: HeldGrant) -> Secret:
        """Renewed by us, if nobody else is at it; until it ends the present token does."""
        if held.refresh_token is None or not await self._leased(held):
            return held.token
        try:
            return await self._renewal(held, held.refresh_token) or held.token
        except (CrmError, NotSetUp, Unavailable) as error:
            logger().warning("token_not_renewed_ahead", id=str(self._connection.id), why=str(error))
            return held.token

    async def _renewed(self, held: HeldGrant) -> Secret:
        """Renewed by us or by whoever is at it."""
        patience = monotonic() + _PATIENCE_SECONDS
        while monotonic() < patience:
            if held.refresh_token is None:
                if await self._credentials.refuse(self._context, self._connection, held.version):
                    raise NeedsAuthorization
            elif await self._leased(held):
                if (token := await self._renewal(held, held.refresh_token)) is not None:
                    return token
            else:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            present = await self._held()
            if present.version != held.version:
                return present.token
        raise Unavailable("The CRM does not renew the connection at the moment.")

    async def _leased(self, held: HeldGrant) -> bool:
        return await self._credentials.lease(self._context, self._connection, held.version)

    async def _renewal(self, held: HeldGrant, refresh_token: Secret) -> Secret | None:
        return await self._credentials.renew(self._context, self._connection, held.version, refresh_token)
