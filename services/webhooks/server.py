"""What the webhooks process consists of."""

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
from chassis.rpc.server import RpcServer
from chassis.soundings import Soundings, events_of
from chassis.vault.settings import former_sealer, wrapping_of
from chassis.vault.vault import Vault
from services.webhooks.api.deliveries import WebhookDeliveryApi
from services.webhooks.api.directory import WebhookDirectoryApi
from services.webhooks.api.endpoints import WebhookEndpointApi
from services.webhooks.api.event_types import WebhookEventTypeApi
from services.webhooks.api.replays import WebhookReplayApi
from services.webhooks.api.usage import WebhookUsageApi
from services.webhooks.consumers import consumers, identity_consumer
from services.webhooks.dispatch.dispatcher import Dispatcher
from services.webhooks.dispatch.figures import DUE
from services.webhooks.dispatch.shards import Shards
from services.webhooks.event_log import KEPT
from services.webhooks.exported_columns import EXPORT_RULES
from services.webhooks.outbound.client import Client
from services.webhooks.outbound.resolver import Resolver
from services.webhooks.replay_runner import ReplayRunner
from services.webhooks.settings import WebhooksSettings

# Requests, events and the journal share them.
_CONNECTIONS = 12


async def serve(settings: WebhooksSettings) -> None:
    """Run until told to stop."""
    async with Process("webhooks", settings) as process:
        database = await process.enter(
            Database(settings.database_url, schema="webhooks", pool_size=_CONNECTIONS)
        )
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        shards = await process.enter(Shards(scheduler))
        vault = Vault("webhooks", wrapping_of(settings), former=former_sealer("webhooks", settings))
        client = Client(settings.destination_rules, Resolver(settings.dns_resolver))
        dispatcher = Dispatcher(database, scheduler, shards, vault, client)
        erasures = Erasures(database, scheduler, process="webhooks")
        readers = [
            *consumers(bus, database, dispatcher.hand_over),
            identity_consumer(bus, database, erasures),
        ]
        process.start(Relay(relay, bus, domain="webhooks", wake=database.outbox_written))
        process.start(dispatcher)
        for reader in readers:
            process.start(reader)
        process.start(Replays(relay, readers))
        process.start(Soundings(relay, events_of("webhooks")))
        process.start(Soundings(scheduler, {"webhook_deliveries": DUE}))
        process.start(Forgetting(scheduler, *REQUESTS_AND_EVENTS, *KEPT))
        process.start(erasures)
        process.start(ReplayRunner(database, scheduler, dispatcher.wake))
        server = RpcServer("webhooks", settings.listen, process.verifier, database, process.tls)
        server.add(
            WebhookEndpointApi(vault, settings.destination_rules, dispatcher.wake),
            WebhookDeliveryApi(dispatcher.wake),
            WebhookReplayApi(),
            WebhookEventTypeApi(),
            WebhookDirectoryApi(),
            WebhookUsageApi(),
            DeadLetterService(relay, "webhooks"),
            ErasureService(),
            ExportService(Export(database, "services.webhooks", EXPORT_RULES)),
        )
        await process.serve(server)
