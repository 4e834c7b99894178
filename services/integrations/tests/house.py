"""The integrations process' own parts, put together on real servers for a test, and organizations that call it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import text

from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.methods import Servicer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.vault import Vault
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import plans_pb2
from flownurture.integrations.v1 import (
    authorizations_pb2,
    connections_pb2,
    crm_posts_pb2,
    field_mappings_pb2,
    held_credentials_pb2,
    syncs_pb2,
)
from services.integrations.api.authorizations import AuthorizationApi
from services.integrations.api.connections import ConnectionApi
from services.integrations.api.crm_posts import CrmPostApi
from services.integrations.api.field_mappings import FieldMappingApi
from services.integrations.api.held_credentials import HeldCredentialApi
from services.integrations.api.syncs import SyncApi
from services.integrations.authorizations import States
from services.integrations.connecting import Connecting
from services.integrations.connections import get_connection
from services.integrations.credentials import Access, Credentials
from services.integrations.crm.http_client import HttpClient
from services.integrations.identity_peer import FEATURE, IdentityPeer
from services.integrations.mapping_fields import MappingFields
from services.integrations.nudges import Nudges
from services.integrations.offers import Offers, offers_of
from services.integrations.open_accounts import OpenAccounts
from services.integrations.revocations import Revoker
from services.integrations.settings import CrmSettings, IntegrationsSettings
from services.integrations.sync.contacts import Contacts
from services.integrations.tests.known_contacts import KnownContacts
from services.integrations.tests.local_crm import LocalCrm, local_crms

_RPC_OF = {
    method.input_type.full_name: (service, method)
    for contract in (
        authorizations_pb2,
        connections_pb2,
        crm_posts_pb2,
        field_mappings_pb2,
        held_credentials_pb2,
        syncs_pb2,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class Plans:
    """Identity, as far as it is asked what plans include: all of them everything, but for those of `without`; who is suspended is in `suspended`."""

    service = plans_pb2.DESCRIPTOR.services_by_name["EntitlementService"]

    def __init__(self) -> None:
        self.without: set[UUID] = set()
        self.suspended: set[UUID] = set()

    async def get_entitlements(
        self, request: plans_pb2.GetEntitlementsRequest, context: RequestContext
    ) -> plans_pb2.GetEntitlementsResponse:
        features = [] if context.organization in self.without else [FEATURE]
        suspended = context.organization in self.suspended
        return plans_pb2.GetEntitlementsResponse(features=features, suspended=suspended)


@dataclass
class House:
    """The parts of one process."""

    database: Database
    vault: Vault
    offers: Offers
    credentials: Credentials
    revoker: Revoker
    nudges: Nudges
    scheduler: RoleDatabase
    plans: Plans
    identity: IdentityPeer
    http: HttpClient
    contacts: KnownContacts
    # Set where a runner would be woken.
    wake: asyncio.Event
    crms: Mapping[str, LocalCrm]
    gateway: Peer

    def tenant(self) -> "Tenant":
        """An admin of a fresh organization."""
        return Tenant(self)


@dataclass
class Tenant:
    """Calling it with a request calls the RPC that takes such a request, as the gateway does for its admin."""

    house: House
    context: RequestContext = field(
        default_factory=lambda: RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.ORG_ADMIN,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            features=frozenset({FEATURE}),
            client_address="192.0.2.1",
        )
    )

    async def __call__(self, request: Message, context: RequestContext | None = None) -> Any:
        service, method = _RPC_OF[request.DESCRIPTOR.full_name]
        stub = self.house.gateway.channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return await self.house.gateway.call(stub, request, context or self.context)

    def key(self) -> "Tenant":
        """An API key of the same organization."""
        context = replace(
            self.context,
            actor_kind=ActorKind.API_KEY,
            actor_id=str(uuid4()),
            role=Role.NONE,
            session_id="",
            scopes=frozenset({"integrations:read", "integrations:write"}),
        )
        return Tenant(self.house, context)

    async def begin(self, provider: str) -> str:
        """Begin to agree; answers where to."""
        begun = await self(authorizations_pb2.BeginAuthorizationRequest(provider=_value(provider)))
        url: str = begun.authorization_url
        return url

    async def come_back(self, location: str, **changes: str) -> HttpBody:
        """Follow the CRM back, as a browser that nobody knows; answers the page."""
        parts = urlsplit(location)
        provider = parts.path.split("/")[3]
        given = dict(parse_qsl(parts.query)) | changes
        request = authorizations_pb2.CompleteAuthorizationRequest(
            provider=_value(given.pop("provider", provider)), **given
        )
        page: HttpBody = await self(request, ANYBODY)
        return page

    async def agree(self, provider: str) -> HttpBody:
        """Connect by agreeing; answers the page."""
        return await self.come_back(await self.house.crms[provider].agree(await self.begin(provider)))

    async def connect(self, provider: str) -> connections_pb2.Connection:
        """Connect by agreeing; answers the connection."""
        page = await self.agree(provider)
        assert b"Connected" in page.data, page.data
        return (await self.connections())[0]

    async def connections(self, **asked: Any) -> list[connections_pb2.Connection]:
        listed = await self(connections_pb2.ListConnectionsRequest(**asked))
        return list(listed.connections)

    async def connection(self, connection_id: str) -> connections_pb2.Connection:
        found: connections_pb2.Connection = await self(
            connections_pb2.GetConnectionRequest(connection_id=connection_id)
        )
        return found

    async def disconnect(self, connection_id: str) -> None:
        await self(connections_pb2.DeleteConnectionRequest(connection_id=connection_id))

    async def access(self, connection_id: str, credentials: Credentials | None = None) -> Access:
        """Access to an account, as whoever syncs has it."""
        context = RequestContext.of_process("integrations", self.context.organization)
        async with self.house.database.tenant_transaction(context) as session:
            connection = await get_connection(session, UUID(connection_id))
        return (credentials or self.house.credentials).access(context, connection)

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.house.database.tenant_transaction(self.context) as session:
            return list(await session.execute(text(statement), parameters))

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.house.database.tenant_transaction(self.context) as session:
            await session.execute(text(statement), parameters)

    async def published(self, kind: type[Message]) -> list[Any]:
        """What went into the outbox of this type, in its order."""
        envelopes = [
            Envelope.FromString(row.envelope)
            for row in await self.rows("SELECT envelope FROM outbox ORDER BY id")
        ]
        return [
            kind.FromString(envelope.payload)
            for envelope in envelopes
            if envelope.type == kind.DESCRIPTOR.full_name
        ]

    async def revoke_what_is_due(self) -> None:
        """One look of the process at what it has to revoke for this organization."""
        context = RequestContext.of_process("integrations", self.context.organization)
        for row in await self.rows("SELECT id FROM revocations WHERE due_at <= now()"):
            await self.house.revoker.revoke(context, row.id)


# Who is asked nothing.
NOBODY: Any = None
# Whoever comes without a credential.
ANYBODY = RequestContext(issuer="gateway", actor_kind=ActorKind.ANONYMOUS, client_address="198.51.100.7")


@asynccontextmanager
async def house(
    settings: IntegrationsSettings,
    database: Database,
    scheduler: RoleDatabase,
    vault: Vault,
    environment: Callable[[str], dict[str, str]],
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpClient())
        crms = await stack.enter_async_context(local_crms())
        known = {name: CrmSettings(**crm.settings()) for name, crm in crms.items()}  # type: ignore[arg-type]
        offers = offers_of(known, http)
        nudges = Nudges(database, scheduler)
        apps = {name: app for name, crm in known.items() if (app := crm.app())}
        plans, contacts = Plans(), KnownContacts()

        def stamper(process: str) -> Stamper:
            return Stamper(process, Secret(environment(process)["STAMP_PRIVATE_KEY"]))

        async def asked(process: str, servicer: Servicer) -> Peer:
            verifier = StampVerifier(process, settings.stamp_trusted_keys)
            server = RpcServer(process, "127.0.0.1:0", verifier, database)
            await stack.enter_async_context(server.add(servicer))
            return await stack.enter_async_context(
                Peer(f"127.0.0.1:{server.port}", process, stamper("integrations"))
            )

        of_plans = IdentityPeer(await asked("identity", plans))
        connecting = Connecting(database, vault, offers, http, of_plans)
        credentials = Credentials(database, vault, offers)
        mapping = MappingFields(
            database,
            OpenAccounts(database, credentials, http),
            Contacts(await asked("contacts", contacts), NOBODY),
        )
        wake = asyncio.Event()
        states = States(settings.authorization_state_keys, settings.public_url)
        server = RpcServer(
            "integrations",
            "127.0.0.1:0",
            StampVerifier("integrations", settings.stamp_trusted_keys),
            database,
        )
        server.add(
            ConnectionApi(vault, connecting),
            AuthorizationApi(vault, offers, states, connecting),
            HeldCredentialApi(vault),
            FieldMappingApi(mapping),
            CrmPostApi(apps, settings.public_url, nudges),
            SyncApi(offers, wake.set),
        )
        await stack.enter_async_context(server)
        gateway = await stack.enter_async_context(
            Peer(f"127.0.0.1:{server.port}", "integrations", stamper("gateway"))
        )
        yield House(
            database,
            vault,
            offers,
            credentials,
            Revoker(database, scheduler, vault, offers),
            nudges,
            scheduler,
            plans,
            of_plans,
            http,
            contacts,
            wake,
            crms,
            gateway,
        )


def _value(provider: str) -> connections_pb2.Provider.ValueType:
    return connections_pb2.Provider.Value(f"PROVIDER_{provider.upper()}")
