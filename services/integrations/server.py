"""What the integrations process consists of. It notes what changes, and asks a language model."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.retention import Prune
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from services.integrations.ai.language_model import LanguageModel
from services.integrations.ai.mail_checks import MailChecks
from services.integrations.api.usage import AiUsageApi
from services.integrations.api.writing import WritingApi
from services.integrations.consumers import contacts_consumer
from services.integrations.settings import IntegrationsSettings


async def serve(settings: IntegrationsSettings) -> None:
    """Run until told to stop."""
    async with Process("integrations", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="integrations"))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        sending = await process.enter(Peer(settings.sending_target, "sending", process.stamper))
        model = await process.enter(LanguageModel(settings))
        consumer = contacts_consumer(bus, database)
        process.start(consumer)
        process.start(Replays(relay, [consumer]))
        process.start(Prune(scheduler))
        server = RpcServer("integrations", settings.listen, process.verifier, database)
        server.add(
            WritingApi(database, model, MailChecks(sending)),
            AiUsageApi(),
            DeadLetterService(relay, "integrations"),
        )
        await process.serve(server)
