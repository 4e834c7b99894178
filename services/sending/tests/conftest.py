"""The sending service on a real PostgreSQL, with a relay of each test's own."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chassis.consumer import Consumer
from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.settings import mail_wrapping_of, wrapping_of
from chassis.vault.vault import Vault
from deploy.local.nameserver.server import Nameserver
from services.sending.api.analytics import AnalyticsApi
from services.sending.api.campaigns import CampaignApi
from services.sending.api.custom_events import CustomEventApi
from services.sending.api.domains import DomainApi
from services.sending.api.enrollments import EnrollmentApi
from services.sending.api.ip_pools import IpPoolAdminApi, IpPoolApi
from services.sending.api.message_traces import MessageTraceAdminApi
from services.sending.api.messages import MessageApi
from services.sending.api.ready_made_workflows import ReadyMadeWorkflowApi
from services.sending.api.reputation import ReputationAdminApi, ReputationApi
from services.sending.api.sending_policy import SendingPolicyApi
from services.sending.api.templates import TemplateApi
from services.sending.api.tracking import TrackingApi
from services.sending.api.usage import EmailUsageApi
from services.sending.api.workflow_reports import WorkflowReportApi
from services.sending.api.workflow_simulations import WorkflowSimulationApi
from services.sending.api.workflows import WorkflowApi
from services.sending.contacts_peer import ContactsPeer
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.letters import Letters
from services.sending.delivery.senders import Senders
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.sweep import Sweep
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch
from services.sending.dns import Dns
from services.sending.domain_records import Platform
from services.sending.domains import Domain
from services.sending.fan_out import FanOut
from services.sending.feedback.intake import Intake
from services.sending.feedback.origins import Origins
from services.sending.identity_peer import IdentityPeer
from services.sending.platform_domain import ensure_platform_domain
from services.sending.preference_links import PreferenceLinks
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses
from services.sending.suppression.api.files import SuppressionFileApi
from services.sending.suppression.api.preferences import PreferencesApi
from services.sending.suppression.api.reported_opt_outs import ReportedOptOutApi
from services.sending.suppression.api.suppressions import SuppressionAdminApi, SuppressionApi
from services.sending.suppression.api.unsubscribe import UnsubscribeApi
from services.sending.suppression.consumers import consumers as suppression_consumers
from services.sending.suppression.contacts_peer import ContactsPeer as SuppressionContacts
from services.sending.suppression.identity_peer import IdentityPeer as SuppressionIdentity
from services.sending.suppression.opting_out import opting_out_together
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.tests.audience import Audience
from services.sending.tests.hooks import Hooks
from services.sending.tests.list_choices import ListChoices
from services.sending.tests.plan import Plan
from services.sending.tests.post import Post, PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.team import Team
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_contacts import WorkflowContacts
from services.sending.tracking.campaign_links import Targets
from services.sending.tracking.hits import Recorder
from services.sending.tracking.links import TrackingLinks
from services.sending.unsubscribe_links import UnsubscribeLinks
from services.sending.verification import Verification, fresh_keys
from services.sending.workflows.checks import ChecksPeer
from services.sending.workflows.identification import IdentificationPeer
from services.sending.workflows.people import PeoplePeer

Environment = Callable[[str], dict[str, str]]


@pytest.fixture(scope="session")
def settings(service_environment: Environment) -> DeliverySettings:
    environment = service_environment("delivery")
    return DeliverySettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: DeliverySettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="sending", pool_size=16) as database:
        yield database


@pytest.fixture(scope="session")
async def scheduler(settings: DeliverySettings) -> AsyncIterator[RoleDatabase]:
    async with RoleDatabase(settings.database_scheduler_url) as database:
        yield database


@pytest.fixture(scope="session")
def links(settings: DeliverySettings) -> UnsubscribeLinks:
    return UnsubscribeLinks(settings.link_keys, settings.public_url)


@pytest.fixture(scope="session")
def tracking_links(settings: DeliverySettings) -> TrackingLinks:
    return TrackingLinks(settings.link_keys, settings.public_url)


@pytest.fixture(scope="session")
async def tracking_api(database: Database, tracking_links: TrackingLinks) -> AsyncIterator[TrackingApi]:
    async with Recorder(database) as recorder:
        yield TrackingApi(tracking_links, Targets(database), recorder)


@pytest.fixture(scope="session")
def audience() -> Audience:
    return Audience()


@pytest.fixture(scope="session")
def list_choices() -> ListChoices:
    return ListChoices()


@pytest.fixture(scope="session")
def workflow_contacts() -> WorkflowContacts:
    return WorkflowContacts()


@pytest.fixture(scope="session")
async def contacts(
    audience: Audience,
    list_choices: ListChoices,
    workflow_contacts: WorkflowContacts,
    settings: DeliverySettings,
    database: Database,
) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("contacts", settings.stamp_trusted_keys)
    server = RpcServer("contacts", "127.0.0.1:0", verifier, database).add(
        audience, list_choices, workflow_contacts
    )
    async with server:
        yield server


@pytest.fixture(scope="session")
async def contacts_of_pages(
    contacts: RpcServer, service_environment: Environment
) -> AsyncIterator[SuppressionContacts]:
    """The contacts process as the suppression process asks it."""
    key = Secret(service_environment("suppression")["STAMP_PRIVATE_KEY"])
    async with Peer(f"127.0.0.1:{contacts.port}", "contacts", Stamper("suppression", key)) as peer:
        yield SuppressionContacts(peer)


@pytest.fixture(scope="session")
async def identity_of_suppression(
    identity: RpcServer, service_environment: Environment
) -> AsyncIterator[SuppressionIdentity]:
    """The identity process as the suppression process asks it."""
    key = Secret(service_environment("suppression")["STAMP_PRIVATE_KEY"])
    async with Peer(f"127.0.0.1:{identity.port}", "identity", Stamper("suppression", key)) as peer:
        yield SuppressionIdentity(peer)


@pytest.fixture(scope="session")
async def recipients(contacts: RpcServer, service_environment: Environment) -> AsyncIterator[ContactsPeer]:
    key = Secret(service_environment("sending")["STAMP_PRIVATE_KEY"])
    async with Peer(f"127.0.0.1:{contacts.port}", "contacts", Stamper("sending", key)) as peer:
        yield ContactsPeer(peer)


@pytest.fixture(scope="session")
async def contacts_peer(contacts: RpcServer, service_environment: Environment) -> AsyncIterator[Peer]:
    key = Secret(service_environment("sending")["STAMP_PRIVATE_KEY"])
    async with Peer(f"127.0.0.1:{contacts.port}", "contacts", Stamper("sending", key)) as peer:
        yield peer


@pytest.fixture(scope="session")
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture(scope="session")
async def webhooks_peer(
    hooks: Hooks, settings: DeliverySettings, service_environment: Environment
) -> AsyncIterator[Peer]:
    verifier = StampVerifier("webhooks", settings.stamp_trusted_keys)
    key = Secret(service_environment("sending")["STAMP_PRIVATE_KEY"])
    async with (
        RpcServer("webhooks", "127.0.0.1:0", verifier).add(hooks) as server,
        Peer(f"127.0.0.1:{server.port}", "webhooks", Stamper("sending", key)) as peer,
    ):
        yield peer


@pytest.fixture(scope="session")
def checks(contacts_peer: Peer, identity_peer: Peer, webhooks_peer: Peer) -> ChecksPeer:
    return ChecksPeer(contacts_peer, identity_peer, webhooks_peer)


@pytest.fixture(scope="session")
def people(contacts_peer: Peer) -> PeoplePeer:
    return PeoplePeer(contacts_peer)


@pytest.fixture(scope="session")
def identification(contacts_peer: Peer) -> IdentificationPeer:
    return IdentificationPeer(contacts_peer)


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan()


@pytest.fixture(scope="session")
def team() -> Team:
    return Team()


@pytest.fixture(scope="session")
async def identity(plan: Plan, team: Team, settings: DeliverySettings) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("identity", settings.stamp_trusted_keys)
    async with RpcServer("identity", "127.0.0.1:0", verifier).add(plan, team) as server:
        yield server


@pytest.fixture(scope="session")
async def identity_peer(identity: RpcServer, service_environment: Environment) -> AsyncIterator[Peer]:
    key = Secret(service_environment("sending")["STAMP_PRIVATE_KEY"])
    async with Peer(f"127.0.0.1:{identity.port}", "identity", Stamper("sending", key)) as peer:
        yield peer


@pytest.fixture(scope="session")
def allowances(identity_peer: Peer) -> IdentityPeer:
    return IdentityPeer(identity_peer)


@pytest.fixture(scope="session")
def fan_out(
    database: Database, scheduler: RoleDatabase, recipients: ContactsPeer, allowances: IdentityPeer
) -> FanOut:
    return FanOut(database, scheduler, recipients, allowances, Dispatch(database, scheduler), batch=50)


@pytest.fixture(scope="session")
def vault(settings: DeliverySettings) -> Vault:
    return Vault("sending", wrapping_of(settings))


@pytest.fixture
async def shared(database: Database, vault: Vault, settings: DeliverySettings) -> Domain:
    """The platform's own domain."""
    return await ensure_platform_domain(database, settings.shared_domain, vault, await fresh_keys())


@pytest.fixture(scope="session")
async def nameserver() -> AsyncIterator[Nameserver]:
    """The DNS, as the tests publish in it."""
    async with Nameserver("127.0.0.1", 0) as nameserver:
        yield nameserver


@pytest.fixture(scope="session")
def verification(database: Database, scheduler: RoleDatabase, nameserver: Nameserver) -> Verification:
    platform = Platform("mail.test", "spf.mail.test")
    return Verification(database, scheduler, Dns(nameserver.address), platform)


@pytest.fixture(scope="session")
def domain_api(database: Database, vault: Vault, verification: Verification) -> DomainApi:
    return DomainApi(database, vault, verification)


@pytest.fixture(scope="session")
def ip_pool_admin_api(database: Database, allowances: IdentityPeer, vault: Vault) -> IpPoolAdminApi:
    return IpPoolAdminApi(database, allowances, vault)


@pytest.fixture(scope="session")
def sending_apis(
    *,
    database: Database,
    recipients: ContactsPeer,
    domain_api: DomainApi,
    tracking_api: TrackingApi,
    ip_pool_admin_api: IpPoolAdminApi,
    allowances: IdentityPeer,
    checks: ChecksPeer,
    identification: IdentificationPeer,
    people: PeoplePeer,
) -> Sequence[Any]:
    return (
        CampaignApi(database, recipients, launched=lambda *_: None),
        MessageApi(database),
        MessageTraceAdminApi(database),
        TemplateApi(),
        domain_api,
        tracking_api,
        AnalyticsApi(),
        EmailUsageApi(),
        SendingPolicyApi(),
        IpPoolApi(),
        ip_pool_admin_api,
        ReputationApi(),
        ReputationAdminApi(database, allowances),
        WorkflowApi(database, checks),
        EnrollmentApi(database, identification),
        WorkflowReportApi(),
        WorkflowSimulationApi(database, people),
        ReadyMadeWorkflowApi(database, checks),
        CustomEventApi(database, identification),
    )


@pytest.fixture(scope="session")
async def sending(
    settings: DeliverySettings,
    database: Database,
    sending_apis: Sequence[Any],
    service_environment: Environment,
) -> AsyncIterator[Peer]:
    verifier = StampVerifier("sending", settings.stamp_trusted_keys)
    server = RpcServer("sending", "127.0.0.1:0", verifier, database).add(*sending_apis)
    key = Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"])
    async with server, Peer(f"127.0.0.1:{server.port}", "sending", Stamper("gateway", key)) as peer:
        yield peer


@pytest.fixture(scope="session")
async def resubscriptions(service_environment: Environment) -> AsyncIterator[Resubscriptions]:
    async with RoleDatabase(Secret(service_environment("suppression")["DATABASE_CONSENT_URL"])) as database:
        yield Resubscriptions(database)


@pytest.fixture(scope="session")
def suppression_readers(database: Database, resubscriptions: Resubscriptions) -> list[Consumer]:
    """What the suppression process reads events with; tests hand them over themselves."""
    return suppression_consumers(None, database, resubscriptions)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def suppression(
    *,
    settings: DeliverySettings,
    database: Database,
    links: UnsubscribeLinks,
    resubscriptions: Resubscriptions,
    contacts_of_pages: SuppressionContacts,
    identity_of_suppression: SuppressionIdentity,
    service_environment: Environment,
) -> AsyncIterator[Peer]:
    verifier = StampVerifier("suppression", settings.stamp_trusted_keys)
    server = RpcServer("suppression", "127.0.0.1:0", verifier, database)
    opting_out = opting_out_together(database)
    preference_links = PreferenceLinks(settings.link_keys, settings.public_url)
    server.add(
        SuppressionApi(),
        SuppressionAdminApi(database, identity_of_suppression),
        SuppressionFileApi(database),
        UnsubscribeApi(opting_out, links),
        PreferencesApi(
            database,
            opting_out,
            preference_links,
            resubscriptions,
            contacts_of_pages,
            sealed=SealedMails(mail_wrapping_of(settings)),
        ),
        ReportedOptOutApi(),
    )
    key = Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"])
    async with server, Peer(f"127.0.0.1:{server.port}", "suppression", Stamper("gateway", key)) as peer:
        yield peer


@pytest.fixture
def tenant(
    sending: Peer, suppression: Peer, database: Database, audience: Audience, fan_out: FanOut
) -> Tenant:
    return Tenant(sending, suppression, database, audience, fan_out)


@pytest.fixture
def stranger(
    sending: Peer, suppression: Peer, database: Database, audience: Audience, fan_out: FanOut
) -> Tenant:
    """Another organization."""
    return Tenant(sending, suppression, database, audience, fan_out)


@pytest.fixture
async def relay() -> AsyncIterator[MailRelay]:
    async with MailRelay() as relay:
        yield relay


@pytest.fixture(scope="session")
def intake(database: Database, settings: DeliverySettings) -> Intake:
    """What the feedback process takes reports in with."""
    return Intake(database, Origins(settings.link_keys))


@pytest.fixture(scope="session")
def letters(links: UnsubscribeLinks, settings: DeliverySettings) -> Letters:
    return Letters(
        links,
        PreferenceLinks(settings.link_keys, settings.public_url),
        ReturnPaths(settings.link_keys),
        UnsubscribeAddresses(settings.link_keys),
        CarriedTokens(settings.link_keys),
    )


@pytest.fixture
def senders(database: Database, vault: Vault, settings: DeliverySettings) -> Senders:
    return Senders(database, vault, shared_domain=settings.shared_domain, hostname="mail.test")


@pytest.fixture
def drafts(senders: Senders, tracking_links: TrackingLinks, settings: DeliverySettings) -> Drafts:
    return Drafts(senders, tracking_links, SealedMails(mail_wrapping_of(settings)), "mail.test")


@pytest.fixture
def post_office(
    *,
    tmp_path: Path,
    database: Database,
    scheduler: RoleDatabase,
    drafts: Drafts,
    letters: Letters,
    vault: Vault,
) -> PostOffice:
    return PostOffice(tmp_path, database, scheduler, drafts, letters, vault)


@pytest.fixture
async def post(post_office: PostOffice, relay: MailRelay) -> AsyncIterator[Post]:
    """A delivery process that hands over to the relay."""
    async with post_office.open(relay) as post:
        yield post


@pytest.fixture
def worker(post: Post) -> Worker:
    """Its worker."""
    return post.worker


@pytest.fixture
def scheduler_sweep(database: Database, scheduler: RoleDatabase, post: Post) -> Sweep:
    return Sweep(database, scheduler, post.worker, post.lease)
