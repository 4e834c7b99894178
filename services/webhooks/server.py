"""What the webhooks process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.retention import Prune
from chassis.rpc.server import RpcServer
from chassis.sealing import Sealer
from services.webhooks.api.deliveries import WebhookDeliveryApi
from services.webhooks.api.directory import WebhookDirectoryApi
from services.webhooks.api.endpoints import WebhookEndpointApi
from services.webhooks.api.usage import WebhookUsageApi
from services.webhooks.consumers import consumers
from services.webhooks.event_log import Forgetting
from services.webhooks.settings import WebhooksSettings
from services.webhooks.waking import Wake


async def serve(settings: WebhooksSettings) -> None:
    """Run until told to stop."""
    async with Process("webhooks", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="webhooks"))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        readers = consumers(bus, database)
        for reader in readers:
            process.start(reader)
        process.start(Replays(relay, readers))
        process.start(Prune(scheduler))
        process.start(Forgetting(scheduler))
        sealer = Sealer("webhooks", settings.sealing_keys)
        wake: Wake = lambda organization_id, endpoint_ids: None  # noqa: E731 - until there are lanes
        server = RpcServer("webhooks", settings.listen, process.verifier, database)
        server.add(
            WebhookEndpointApi(sealer, settings.destination_rules, wake),
            WebhookDeliveryApi(wake),
            WebhookDirectoryApi(),
            WebhookUsageApi(),
            DeadLetterService(relay, "webhooks"),
        )
        await process.serve(server)
