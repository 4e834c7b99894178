"""What the workflows process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.relay import Relay
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.soundings import Soundings, events_of
from services.sending.identity_peer import IdentityPeer
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.archiving import Archiving
from services.sending.workflows.consumers import Happenings
from services.sending.workflows.occasions import Occasions
from services.sending.workflows.people import PeoplePeer
from services.sending.workflows.runner import DUE, Runner
from services.sending.workflows.settings import WorkflowsSettings


async def serve(settings: WorkflowsSettings) -> None:
    """Run until told to stop."""
    async with Process("workflows", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=10))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        contacts = await process.enter(
            Peer(settings.contacts_target, "contacts", process.stamper, process.tls)
        )
        identity = await process.enter(
            Peer(settings.identity_target, "identity", process.stamper, process.tls)
        )
        people = PeoplePeer(contacts)
        advancing = Advancing(database, people, IdentityPeer(identity))
        runner = Runner(scheduler, advancing)
        consumers = Happenings(database, people, advancing, runner).consumers(bus)
        process.start(Relay(relay, bus, domain="workflows", wake=database.outbox_written))
        for consumer in consumers:
            process.start(consumer)
        process.start(Replays(relay, consumers))
        process.start(Soundings(relay, events_of("workflows")))
        process.start(Soundings(scheduler, {"enrollments": DUE}))
        process.start(runner)
        process.start(Occasions(database, scheduler, people, advancing, runner))
        process.start(Archiving(database, scheduler))
        server = RpcServer("workflows", settings.listen, process.verifier, database, process.tls)
        await process.serve(server.add(DeadLetterService(relay, "workflows")))
