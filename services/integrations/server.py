"""What the integrations process consists of."""

from datetime import timedelta

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
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from services.integrations.ai.earlier_mails import EarlierMails
from services.integrations.ai.language_model import language_model
from services.integrations.ai.mail_checks import MailChecks
from services.integrations.ai.tools import Tools
from services.integrations.api.authorizations import AuthorizationApi
from services.integrations.api.connections import ConnectionApi
from services.integrations.api.copilot import CopilotApi
from services.integrations.api.crm_posts import CrmPostApi
from services.integrations.api.field_mappings import FieldMappingApi
from services.integrations.api.held_credentials import HeldCredentialApi
from services.integrations.api.syncs import SyncApi
from services.integrations.api.usage import AiUsageApi
from services.integrations.api.writing import WritingApi
from services.integrations.authorizations import States
from services.integrations.connecting import Connecting
from services.integrations.consumers import contacts_consumer, identity_consumer
from services.integrations.credentials import Credentials
from services.integrations.crm.http_client import HttpClient
from services.integrations.exported_columns import EXPORT_RULES
from services.integrations.identity_peer import IdentityPeer
from services.integrations.mail_events import mail_consumers
from services.integrations.mapping_fields import MappingFields
from services.integrations.nudges import Nudges
from services.integrations.offers import offers_of
from services.integrations.open_accounts import OpenAccounts
from services.integrations.retention import KEPT
from services.integrations.revocations import Revoker
from services.integrations.settings import IntegrationsSettings
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.figures import UNFINISHED
from services.integrations.sync.runner import Runner
from services.integrations.sync.turns import Turns


async def serve(settings: IntegrationsSettings) -> None:
    """Run until told to stop."""
    async with Process("integrations", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="integrations", pool_size=10))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        sending = await process.enter(Peer(settings.sending_target, "sending", process.stamper, process.tls))
        suppression = await process.enter(
            Peer(settings.suppression_target, "suppression", process.stamper, process.tls)
        )
        contacts = await process.enter(
            Peer(settings.contacts_target, "contacts", process.stamper, process.tls)
        )
        model = await process.enter(language_model(settings))
        identity = await process.enter(
            Peer(settings.identity_target, "identity", process.stamper, process.tls)
        )
        http = await process.enter(HttpClient())
        vault = Vault("integrations", wrapping_of(settings))
        offers = offers_of(settings.crms, http)
        states = States(settings.authorization_state_keys, settings.public_url)
        plans = IdentityPeer(identity)
        connecting = Connecting(database, vault, offers, http, plans)
        credentials = Credentials(database, vault, offers)
        synced = Contacts(contacts, suppression)
        mapping = MappingFields(database, OpenAccounts(database, credentials, http), synced)
        every = timedelta(seconds=settings.sync_interval_seconds)
        turns = Turns(database, credentials, http, synced, plans, every=every)
        runner = Runner(scheduler, turns, offers.names())
        nudges = Nudges(database, scheduler)
        apps = {name: app for name, crm in settings.crms.items() if (app := crm.app())}
        erasures = Erasures(database, scheduler, process="integrations")
        consumers = [
            contacts_consumer(bus, database),
            identity_consumer(bus, database, erasures),
            *mail_consumers(bus, database),
        ]
        process.start(Relay(relay, bus, domain="integrations", wake=database.outbox_written))
        for consumer in consumers:
            process.start(consumer)
        process.start(Replays(relay, consumers))
        process.start(Soundings(relay, events_of("integrations")))
        process.start(Soundings(scheduler, {"syncs": UNFINISHED}))
        process.start(Forgetting(scheduler, *REQUESTS_AND_EVENTS, *KEPT))
        process.start(erasures)
        process.start(nudges)
        process.start(Revoker(database, scheduler, vault, offers))
        process.start(runner)
        server = RpcServer("integrations", settings.listen, process.verifier, database, process.tls)
        server.add(
            WritingApi(database, model, MailChecks(sending), EarlierMails(sending)),
            CopilotApi(database, model, Tools(contacts, sending)),
            AiUsageApi(),
            ConnectionApi(vault, connecting),
            AuthorizationApi(vault, offers, states, connecting),
            HeldCredentialApi(vault),
            FieldMappingApi(mapping),
            CrmPostApi(apps, settings.public_url, nudges),
            SyncApi(offers, runner.wake.set),
            DeadLetterService(relay, "integrations"),
            ErasureService(),
            ExportService(Export(database, "services.integrations", EXPORT_RULES)),
        )
        await process.serve(server)
