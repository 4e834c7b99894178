"""What the sending process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.erasure import Erasures
from chassis.erasure_service import ErasureService
from chassis.events import EventBus
from chassis.export import Export
from chassis.export_service import ExportService
from chassis.process import Process
from chassis.relay import Relay
from chassis.retention import REQUESTS_AND_EVENTS, Forgetting
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.soundings import Soundings, events_of
from chassis.vault.settings import former_sealer, wrapping_of
from chassis.vault.vault import Vault
from services.sending.account_mail import AccountMail
from services.sending.analytics.retention import EventRetention
from services.sending.api.analytics import AnalyticsApi
from services.sending.api.campaigns import CampaignApi
from services.sending.api.custom_events import CustomEventApi
from services.sending.api.domains import DomainApi
from services.sending.api.draft_checks import DraftCheckApi
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
from services.sending.cancellation import Cancellation
from services.sending.completion import Completion
from services.sending.consumers import AccountMailReader, ContactsReader, OrganizationsReader, OutcomeReader
from services.sending.contacts_peer import ContactsPeer
from services.sending.dispatch import Dispatch
from services.sending.dns import Dns
from services.sending.domain_records import Platform
from services.sending.exported_columns import EXPORT_RULES
from services.sending.fan_out import FanOut
from services.sending.frequency_cap import PlaceRetention
from services.sending.identity_peer import IdentityPeer
from services.sending.platform_domain import ensure_platform_domain
from services.sending.quiet_hours import QuietHoursWatch
from services.sending.reputation_watch import ReputationWatch
from services.sending.schedule import Schedule
from services.sending.settings import SendingSettings, domain_of
from services.sending.tracking.campaign_links import Targets
from services.sending.tracking.hits import Recorder
from services.sending.tracking.links import TrackingLinks
from services.sending.tracking.tally import Tally
from services.sending.verification import Verification, fresh_keys
from services.sending.workflows.checks import ChecksPeer
from services.sending.workflows.identification import IdentificationPeer
from services.sending.workflows.people import PeoplePeer


async def serve(settings: SendingSettings) -> None:
    """Run until told to stop."""
    async with Process("sending", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=10))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        recorder = await process.enter(Recorder(database))
        contacts = await process.enter(
            Peer(settings.contacts_target, "contacts", process.stamper, process.tls)
        )
        recipients = ContactsPeer(contacts)
        identity = await process.enter(
            Peer(settings.identity_target, "identity", process.stamper, process.tls)
        )
        webhooks = await process.enter(
            Peer(settings.webhooks_target, "webhooks", process.stamper, process.tls)
        )
        dispatch = Dispatch(database, scheduler)
        plans = IdentityPeer(identity)
        fan_out = FanOut(database, scheduler, recipients, plans, dispatch)
        account_mail = AccountMail(
            database, from_email=settings.account_mail_from, from_name=settings.account_mail_from_name
        )
        noted = await process.enter(RoleDatabase(settings.database_erasure_url, pool_size=1))
        erasures = Erasures(database, scheduler, process="sending", noted=noted)
        consumers = [
            *OutcomeReader(database, dispatch).consumers(bus),
            AccountMailReader(database, account_mail).consumer(bus),
            *ContactsReader(database).consumers(bus),
            OrganizationsReader(database, erasures).consumer(bus),
        ]
        vault = Vault("sending", wrapping_of(settings), former=former_sealer("sending", settings))
        for name in (settings.shared_domain, domain_of(settings.account_mail_from)):
            await ensure_platform_domain(database, name, vault, await fresh_keys())
        platform = Platform(settings.mail_hostname, settings.spf_host)
        verification = Verification(database, scheduler, Dns(settings.dns_resolver), platform)
        process.start(Relay(relay, bus, domain="sending", wake=database.outbox_written))
        for consumer in consumers:
            process.start(consumer)
        process.start(Replays(relay, consumers))
        process.start(Soundings(relay, events_of("sending")))
        process.start(Forgetting(scheduler, *REQUESTS_AND_EVENTS))
        process.start(erasures)
        process.start(fan_out)
        process.start(dispatch)
        process.start(Schedule(database, scheduler, fan_out))
        process.start(Completion(database, scheduler))
        process.start(Cancellation(database, scheduler))
        process.start(ReputationWatch(database, scheduler))
        process.start(QuietHoursWatch(database, scheduler))
        process.start(PlaceRetention(database, scheduler))
        process.start(verification)
        process.start(Tally(database, scheduler))
        process.start(EventRetention(database, scheduler, plans))
        links = TrackingLinks(settings.link_keys, settings.public_url)
        checks = ChecksPeer(contacts, identity, webhooks)
        campaigns = CampaignApi(database, recipients, launched=fan_out.launched)
        server = RpcServer("sending", settings.listen, process.verifier, database, process.tls)
        server.add(
            campaigns,
            MessageApi(database),
            MessageTraceAdminApi(database),
            TemplateApi(),
            DomainApi(database, vault, verification),
            AnalyticsApi(),
            TrackingApi(links, Targets(database), recorder),
            IpPoolApi(),
            IpPoolAdminApi(database, plans, vault),
            ReputationApi(),
            ReputationAdminApi(database, plans),
            EmailUsageApi(),
            WorkflowApi(database, checks),
            EnrollmentApi(database, IdentificationPeer(contacts)),
            WorkflowReportApi(),
            WorkflowSimulationApi(database, PeoplePeer(contacts)),
            ReadyMadeWorkflowApi(database, checks),
            CustomEventApi(database, IdentificationPeer(contacts)),
            SendingPolicyApi(),
            DraftCheckApi(database, campaigns, checks),
            DeadLetterService(relay, "sending"),
            ErasureService(),
            ExportService(Export(database, "services.sending", EXPORT_RULES)),
        )
        await process.serve(server)
