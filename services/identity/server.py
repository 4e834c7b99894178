"""What the identity process consists of."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol, TypeVar

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.erasure import Erasures
from chassis.events import EventBus
from chassis.export import Export
from chassis.process import Process
from chassis.relay import Relay
from chassis.retention import REQUESTS_AND_EVENTS, Forgetting
from chassis.rpc.client import Peer
from chassis.rpc.methods import Servicer
from chassis.rpc.server import RpcServer
from chassis.rpc.tls import MutualTls
from chassis.scheduler import Scheduler
from chassis.sealed_mail import SealedMails
from chassis.soundings import Soundings, events_of
from chassis.stamp import Stamper
from chassis.vault.settings import former_sealer, mail_wrapping_of, wrapping_of
from chassis.vault.vault import Vault
from services.identity.access_tokens import AccessTokens
from services.identity.account_mails import AccountMails
from services.identity.afterwards import Afterwards
from services.identity.api.account import AccountService
from services.identity.api.account_pages import AccountPageService
from services.identity.api.admin import AdminService
from services.identity.api.admission import AdmissionService
from services.identity.api.api_keys import ApiKeyService
from services.identity.api.audit import AuditService
from services.identity.api.auth import AuthService
from services.identity.api.dead_letters import DeadLetterAdminService
from services.identity.api.organization_exports import OrganizationExportService
from services.identity.api.organizations import OrganizationService
from services.identity.api.plans import EntitlementService, PlanService
from services.identity.api.second_factor import SecondFactorService
from services.identity.api.sessions import SessionService
from services.identity.api.team import InvitationService, MemberDirectoryService, TeamService
from services.identity.api.tokens import TokenAnswers
from services.identity.clock import Clock, system_clock
from services.identity.consumers import consumers, identity_consumer
from services.identity.dead_letter_peers import DeadLetterPeers
from services.identity.erasure_peers import ErasurePeers
from services.identity.export_peers import ExportPeers
from services.identity.exported_columns import EXPORT_RULES
from services.identity.grants import Grants
from services.identity.lookup import Lookup
from services.identity.operators import ensure_super_admin
from services.identity.organization_erasures import ERASURES_DUE, STAYS, Departures
from services.identity.passwords import Passwords
from services.identity.platform import Platform
from services.identity.proof import Proof
from services.identity.redis_connections import redis_at
from services.identity.second_factors import SEEDS, SecondFactors
from services.identity.settings import IdentitySettings
from services.identity.signing_keys import SigningKeys
from services.identity.subscriptions import CHANGES_TO_SETTLE, Settlement
from services.identity.throttle import Throttle
from services.identity.usage_peers import UsagePeers

# A planned change holds from its moment on; this is how soon the row and the trail say so.
_SETTLED_WITHIN = timedelta(minutes=1)
_ERASED_WITHIN = timedelta(seconds=10)

Component = TypeVar("Component")


class Enter(Protocol):
    """Enters a component that is left when the process ends."""

    async def __call__(self, component: AbstractAsyncContextManager[Component], /) -> Component:
        """Enter it and answer what entering gives."""


async def serve(settings: IdentitySettings) -> None:
    """Run until told to stop."""
    async with Process("identity", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="identity"))
        services = await servicers(settings, database, process.enter)
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        process.start(Relay(relay, bus, domain="identity", wake=database.outbox_written))
        erasures = Erasures(database, scheduler, process="identity", stays=STAYS)
        readers = [
            *consumers(bus, database, _mails(settings)),
            identity_consumer(bus, database, erasures),
        ]
        for reader in readers:
            process.start(reader)
        process.start(Replays(relay, readers))
        process.start(Soundings(relay, events_of("identity")))
        process.start(Forgetting(scheduler, *REQUESTS_AND_EVENTS))
        process.start(erasures)
        settlement = Settlement(database, system_clock)
        process.start(
            Scheduler(scheduler, CHANGES_TO_SETTLE, _SETTLED_WITHIN, settlement.settle, process="identity")
        )
        departures = Departures(database, system_clock)
        process.start(
            Scheduler(scheduler, ERASURES_DUE, _ERASED_WITHIN, departures.depart, process="identity")
        )
        server = RpcServer("identity", settings.listen, process.verifier, database, process.tls)
        await process.serve(server.add(*services, DeadLetterService(relay, "identity")))


async def servicers(
    settings: IdentitySettings, database: Database, enter: Enter, clock: Clock = system_clock
) -> tuple[Servicer, ...]:
    """The services and what they need; the super admin of the settings exists when this returns."""
    lookup = Lookup(await enter(RoleDatabase(settings.database_lookup_url, pool_size=5)))
    platform = Platform(await enter(RoleDatabase(settings.database_platform_url)))
    passwords = await enter(Passwords())
    redis = await enter(redis_at(settings.redis_url))
    grants, throttle = Grants(redis), Throttle(redis)
    wrapping, former = wrapping_of(settings), former_sealer("identity", settings)
    vault = Vault("identity", wrapping, former=former)
    if settings.super_admin_email and settings.super_admin_password:
        await ensure_super_admin(
            database,
            lookup,
            passwords,
            email=settings.super_admin_email,
            password=settings.super_admin_password,
        )
    tokens = AccessTokens(
        SigningKeys(settings.jwt_private_keys), issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )
    stamper, tls = Stamper("identity", settings.stamp_private_key), MutualTls.of(settings)
    services = {
        "contacts": await enter(Peer(settings.contacts_target, "contacts", stamper, tls)),
        "sending": await enter(Peer(settings.sending_target, "sending", stamper, tls)),
        "webhooks": await enter(Peer(settings.webhooks_target, "webhooks", stamper, tls)),
        "integrations": await enter(Peer(settings.integrations_target, "integrations", stamper, tls)),
    }
    # Entered late and so left early: what it finishes needs the others.
    afterwards = await enter(Afterwards())
    proof = Proof(
        database=database, lookup=lookup, passwords=passwords, throttle=throttle, afterwards=afterwards
    )
    factors = SecondFactors(SEEDS.envelopes("identity", wrapping, former))
    answers = TokenAnswers(tokens, clock)
    mails = _mails(settings)
    account = AccountService(
        database=database,
        lookup=lookup,
        passwords=passwords,
        proof=proof,
        throttle=throttle,
        grants=grants,
        mails=mails,
        afterwards=afterwards,
    )
    invitations = InvitationService(
        database=database,
        lookup=lookup,
        passwords=passwords,
        proof=proof,
        factors=factors,
        answers=answers,
        clock=clock,
    )
    readers = {
        process: await enter(Peer(target, process, stamper, tls))
        for process, target in settings.dead_letter_targets.items()
    }
    return (
        AuthService(
            database=database,
            lookup=lookup,
            passwords=passwords,
            proof=proof,
            factors=factors,
            throttle=throttle,
            grants=grants,
            access_tokens=tokens,
            answers=answers,
            mails=mails,
            sign_ups_per_hour=settings.sign_ups_per_hour,
            clock=clock,
        ),
        SessionService(database, lookup, grants, answers, clock),
        account,
        SecondFactorService(database, proof, throttle, factors),
        TeamService(grants, mails, clock),
        MemberDirectoryService(),
        invitations,
        AccountPageService(account, invitations),
        OrganizationService(clock),
        PlanService(database, UsagePeers(**services), grants, clock),
        EntitlementService(clock),
        ApiKeyService(grants, vault),
        AdminService(database, platform, grants, ErasurePeers(services), clock),
        OrganizationExportService(
            database, platform, ExportPeers(Export(database, "services.identity", EXPORT_RULES), services)
        ),
        AuditService(),
        DeadLetterAdminService(database, DeadLetterPeers(readers)),
        AdmissionService(database, lookup, grants, vault, clock),
    )


def _mails(settings: IdentitySettings) -> AccountMails:
    return AccountMails(settings.public_url, SealedMails(mail_wrapping_of(settings)))
