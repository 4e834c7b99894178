"""What the contacts process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.relay import Relay
from chassis.retention import Prune
from chassis.rpc.server import RpcServer
from services.contacts.api.audience import AudienceApi
from services.contacts.api.contacts import ContactApi
from services.contacts.api.imports import ImportApi
from services.contacts.api.lists import ListApi
from services.contacts.api.usage import ContactUsageApi
from services.contacts.consumers import suppression_consumer
from services.contacts.import_worker import ImportWorker
from services.contacts.settings import ContactsSettings

# Requests and the imports of one turn share them.
_CONNECTIONS = 10


async def serve(settings: ContactsSettings) -> None:
    """Run until told to stop."""
    async with Process("contacts", settings) as process:
        database = await process.enter(
            Database(settings.database_url, schema="contacts", pool_size=_CONNECTIONS)
        )
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        consumer = suppression_consumer(bus, database)
        worker = ImportWorker(database, scheduler)
        process.start(Relay(relay, bus, domain="contacts", wake=database.outbox_written))
        process.start(consumer)
        process.start(Replays(relay, [consumer]))
        process.start(Prune(scheduler))
        process.start(worker)
        server = RpcServer("contacts", settings.listen, process.verifier, database)
        server.add(
            ContactApi(),
            ListApi(),
            AudienceApi(),
            ContactUsageApi(),
            ImportApi(database, created=worker.wake.set),
            DeadLetterService(relay, "contacts"),
        )
        await process.serve(server)
