"""Connecting an account: by a key, or by what somebody agreed to at the CRM; and disconnecting it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest, Unavailable
from chassis.secret import Secret
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from services.integrations import authorizations, connections, grants, revocations
from services.integrations.accounts import FreshAccess, account_of
from services.integrations.connections import Account, Connection, Connector, ConnectorKind, Method
from services.integrations.crm.errors import CrmError, Forbidden, Rejected, Unauthorized
from services.integrations.crm.http_client import HttpClient
from services.integrations.grants import Grant, grant_of
from services.integrations.identity_peer import IdentityPeer
from services.integrations.offers import Offers, title_of
from services.integrations.sync import positions

_ACTORS = {ConnectorKind.USER: ActorKind.USER, ConnectorKind.API_KEY: ActorKind.API_KEY}


@dataclass(frozen=True, slots=True)
class _Opened:
    """An account, and what it was opened with."""

    account: Account
    method: Method
    scopes: Sequence[str]
    grant: Grant


class NotConnected(Exception):
    """An account was not connected; the message says to whoever agreed why not."""


class Connecting:
    """Connects accounts. What a CRM is asked meanwhile is asked outside of any transaction."""

    def __init__(
        self, database: Database, vault: Vault, offers: Offers, http: HttpClient, identity: IdentityPeer
    ) -> None:
        self._database = database
        self._vault = vault
        self._offers = offers
        self._http = http
        self._identity = identity

    async def by_key(self, context: RequestContext, provider: str, key: Secret) -> Connection:
        """Connect the account that a key opens. Raises InvalidRequest for a key that opens none, NotSetUp, Unavailable."""
        offer = self._offers.of(provider)
        if not offer.provider.takes_api_keys:
            raise InvalidRequest(
                FieldViolation(
                    "provider", f"has no API keys: {title_of(provider)} is connected by authorization"
                )
            )
        try:
            account = await self._account(provider, offer.key_base_url, key, Method.API_KEY)
        except (Unauthorized, Forbidden, Rejected):
            raise InvalidRequest(
                FieldViolation("api_key", f"is not accepted by {title_of(provider)}")
            ) from None
        except CrmError as error:
            raise Unavailable(str(error)) from None
        opened = _Opened(account, Method.API_KEY, (), Grant(key))
        return await self._establish(context, Connector.of(context), opened)

    async def by_code(
        self,
        context: RequestContext,
        provider: str,
        authorization_id: UUID,
        code: Secret,
        redirect_uri: str,
    ) -> Connection:
        """Connect the account that somebody agreed to. Raises NotConnected, NotSetUp, Unavailable.

        What was begun is taken out first: a code that comes twice is exchanged once, and who fails begins anew.
        """
        oauth = self._offers.oauth(provider)
        begun = await self.take(context, authorization_id)
        if not await self._identity.may_connect(context):
            raise NotConnected("The plan does not include connections to CRMs.")
        try:
            tokens = await oauth.exchange(code, begun.verifier, redirect_uri)
            account = await self._account(provider, tokens.base_url, tokens.access, Method.OAUTH)
        except CrmError as error:
            raise NotConnected(str(error)) from None
        opened = _Opened(account, Method.OAUTH, tokens.scopes, grant_of(tokens))
        return await self._establish(_as(context, begun.asked_by), begun.asked_by, opened)

    async def take(self, context: RequestContext, authorization_id: UUID) -> authorizations.Returned:
        """What was begun, which is over with it. Raises NotConnected."""
        async with self._database.tenant_transaction(context) as session:
            keyring = await self._vault.keyring(session)
            returned = await authorizations.take(session, keyring, authorization_id)
        if returned is None:
            raise NotConnected("This link has been used, or is older than ten minutes.")
        return returned

    async def _account(self, provider: str, base_url: str, credential: Secret, method: Method) -> Account:
        access = FreshAccess(base_url, method is Method.API_KEY, credential)
        found = await account_of(self._http, provider, access)
        return Account(provider, found.id, found.name, base_url)

    async def _establish(self, context: RequestContext, by: Connector, opened: _Opened) -> Connection:
        async with self._database.tenant_transaction(context) as session:
            connection = await connections.establish(
                session, opened.account, opened.method, opened.scopes, by
            )
            await grants.hold(session, await self._vault.keyring(session), connection.id, opened.grant)
            await positions.begin(session, connection.id)
        return connection


async def disconnect(session: TenantSession, vault: Vault, connection_id: UUID) -> None:
    """Delete a connection with what it was connected with, and have that revoked. Raises NotFound.

    Whoever syncs by it is given no token from now on.
    """
    keyring = await vault.keyring(session)
    try:
        held = await grants.held(session, keyring, connection_id)
    except DoesNotOpen:
        # Its key is destroyed: there is nothing left that could be revoked.
        held = None
    connection = await connections.remove(session, connection_id)
    if held is not None and held.refresh_token is not None:
        await revocations.order(session, keyring, connection.provider, held.refresh_token)


def _as(context: RequestContext, by: Connector) -> RequestContext:
    """The browser that came back, as whoever sent it there."""
    role = Role.ORG_ADMIN if by.kind is ConnectorKind.USER else Role.NONE
    return replace(context, actor_kind=_ACTORS[by.kind], actor_id=str(by.id), role=role)
