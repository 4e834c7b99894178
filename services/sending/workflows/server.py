"""What the workflows process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.events import EventBus
from chassis.process import Process
from chassis.relay import Relay
from chassis.rpc.server import RpcServer
from services.sending.workflows.settings import WorkflowsSettings


async def serve(settings: WorkflowsSettings) -> None:
    """Run until told to stop."""
    async with Process("workflows", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=10))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        bus = await process.enter(EventBus(settings))
        process.start(Relay(relay, bus, domain="workflows", wake=database.outbox_written))
        server = RpcServer("workflows", settings.listen, process.verifier, database)
        await process.serve(server.add(DeadLetterService(relay, "workflows")))
