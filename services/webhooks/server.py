"""What the webhooks process consists of. It keeps the facts; endpoints and their deliveries come with their feature."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.retention import Prune
from chassis.rpc.server import RpcServer
from services.webhooks.consumers import consumers
from services.webhooks.event_log import Forgetting
from services.webhooks.settings import WebhooksSettings


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
        server = RpcServer("webhooks", settings.listen, process.verifier, database)
        await process.serve(server.add(DeadLetterService(relay, "webhooks")))
