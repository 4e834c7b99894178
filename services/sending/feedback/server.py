"""What the feedback process consists of."""

from chassis.database import Database
from chassis.process import Process
from chassis.rpc.server import RpcServer
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.settings import FeedbackSettings


async def serve(settings: FeedbackSettings) -> None:
    """Run until told to stop."""
    async with Process("feedback", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending"))
        await process.enter(FeedbackListener(database, settings.smtp_listen))
        await process.serve(RpcServer("feedback", settings.listen, process.verifier, database))
