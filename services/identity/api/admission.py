"""`AdmissionService`: what a gateway asks about a credential that its cache does not know."""

import hmac
import time
from datetime import datetime, timedelta
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.derived_key import DerivedKey
from chassis.errors import FieldViolation, InvalidRequest, Unauthenticated
from chassis.vault.vault import Vault
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1 import admission_pb2 as pb
from services.identity import api_keys
from services.identity.api.messages import role_value, timestamp
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.lookup import LiveKey, LiveSession, Lookup
from services.identity.organizations import Organization


class AdmissionService:
    """Resolves sessions, API keys and keys derived from them to what they may do."""

    service = pb.DESCRIPTOR.services_by_name["AdmissionService"]

    def __init__(
        self, database: Database, lookup: Lookup, grants: Grants, vault: Vault, clock: Clock
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._grants = grants
        self._vault = vault
        self._clock = clock

    async def resolve_credential(
        self, request: pb.ResolveCredentialRequest, context: RequestContext
    ) -> pb.Grant:
        """What a live credential may do, read from PostgreSQL and offered to the cache; else Unauthenticated."""
        match request.WhichOneof("credential"):
            case "session_id":
                return await self._session_grant(UUID(request.session_id))
            case "api_key":
                return await self._api_key_grant(request.api_key, context)
            case _:
                raise InvalidRequest(FieldViolation("credential", "must be given"))

    async def _session_grant(self, session_id: UUID) -> pb.Grant:
        reading = await self._grants.begin_reading()
        live = await self._lookup.session(session_id)
        if live is None:
            raise Unauthenticated
        now = self._clock()
        grant = _grant_of_session(live, now)
        stands = _stands_for(live.organization, now)
        await self._grants.fill_session(session_id, grant, reading, stands_for=stands)
        return grant

    async def _api_key_grant(self, credential: pb.ApiKeyCredential, context: RequestContext) -> pb.Grant:
        derived = _derived_key(credential)
        reading = await self._grants.begin_reading()
        key = await self._lookup.api_key(UUID(credential.api_key_id))
        if key is None or not await self._is_genuine(key, credential, derived):
            raise Unauthenticated
        now = self._clock()
        grant = _grant_of_key(key, now)
        stands = _stands_for(key.organization, now)
        await self._grants.fill_api_key(
            key.id, grant, key.secret_digest, reading, derived=derived, stands_for=stands
        )
        if key.use_is_news:
            await self._note_use(key, context)
        return grant

    async def _is_genuine(
        self, key: LiveKey, credential: pb.ApiKeyCredential, derived: DerivedKey | None
    ) -> bool:
        if derived is None:
            return hmac.compare_digest(key.secret_digest, credential.secret_sha256)
        if key.sealed_chain_key is None or derived.has_expired(time.time()):
            return False
        context = RequestContext.of_process("identity", key.organization.id)
        async with self._database.tenant_transaction(context, read_only=True) as session:
            keyring = await self._vault.keyring_to_open(session)
        chain = api_keys.opened_chain_key(key.id, key.sealed_chain_key, keyring)
        return derived.is_signed_from(chain.reveal())

    async def _note_use(self, key: LiveKey, context: RequestContext) -> None:
        theirs = RequestContext.of_process("identity", key.organization.id, request_id=context.request_id)
        async with self._database.tenant_transaction(theirs) as session:
            await api_keys.note_use(session, key.id)


def _derived_key(credential: pb.ApiKeyCredential) -> DerivedKey | None:
    """The derived key that was shown; None when it was the key itself. Unauthenticated for what cannot be one."""
    if not credential.restrictions:
        return None
    try:
        return DerivedKey(UUID(credential.api_key_id), tuple(credential.restrictions), credential.signature)
    except ValueError:
        raise Unauthenticated from None


def _grant_of_session(live: LiveSession, now: datetime) -> pb.Grant:
    standing = live.organization.subscription.at(now)
    plan = standing.entitlements
    return pb.Grant(
        organization_id="" if live.organization.is_platform else str(live.organization.id),
        actor=Actor(kind=Actor.KIND_USER, id=str(live.user.id)),
        role=role_value(live.role),
        features=sorted(plan.features),
        session_id=str(live.id),
        organization_suspended=live.organization.suspended,
        requests_per_minute=plan.requests_per_minute,
        expires_at=timestamp(live.expires_at),
        limits=plan.limits,
        cycle_started_at=timestamp(standing.cycle.started_at),
    )


def _grant_of_key(key: LiveKey, now: datetime) -> pb.Grant:
    standing = key.organization.subscription.at(now)
    plan = standing.entitlements
    return pb.Grant(
        organization_id=str(key.organization.id),
        actor=Actor(kind=Actor.KIND_API_KEY, id=str(key.id)),
        scopes=key.scopes,
        features=sorted(plan.features),
        organization_suspended=key.organization.suspended,
        requests_per_minute=plan.requests_per_minute,
        expires_at=timestamp(key.expires_at),
        limits=plan.limits,
        cycle_started_at=timestamp(standing.cycle.started_at),
    )


def _stands_for(organization: Organization, now: datetime) -> timedelta:
    """How long a grant of this organization says the truth: until the next cycle, which may bring another plan."""
    return organization.subscription.at(now).cycle.ends_at - now
