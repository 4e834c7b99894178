"""What the feedback process consists of. It takes reports in; telling them apart comes with their classification."""

from chassis.database import Database
from chassis.events import EventBus
from chassis.process import Process
from chassis.rpc.server import RpcServer
from services.sending.feedback.listener import ReportListener
from services.sending.feedback.settings import FeedbackSettings


async def serve(settings: FeedbackSettings) -> None:
    """Run until told to stop."""
    async with Process("feedback", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending"))
        await process.enter(EventBus(settings))
        await process.enter(ReportListener(settings.smtp_listen, database))
        await process.serve(RpcServer("feedback", settings.listen, process.verifier, database))
