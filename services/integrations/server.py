"""What the integrations process consists of. It notes what changes; connections and syncs come with their feature."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.retention import Prune
from chassis.rpc.server import RpcServer
from services.integrations.consumers import contacts_consumer
from services.integrations.settings import IntegrationsSettings


async def serve(settings: IntegrationsSettings) -> None:
    """Run until told to stop."""
    async with Process("integrations", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="integrations"))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        consumer = contacts_consumer(bus, database)
        process.start(consumer)
        process.start(Replays(relay, [consumer]))
        process.start(Prune(scheduler))
        server = RpcServer("integrations", settings.listen, process.verifier, database)
        await process.serve(server.add(DeadLetterService(relay, "integrations")))
