"""What the feedback process consists of."""

from chassis.database import Database
from chassis.process import Process
from chassis.rpc.server import RpcServer
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.settings import FeedbackSettings
from services.sending.signed_addresses import UnsubscribeAddresses


async def serve(settings: FeedbackSettings) -> None:
    """Run until told to stop."""
    async with Process("feedback", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending"))
        opt_outs = OptOuts(database, UnsubscribeAddresses(settings.link_keys))
        await process.enter(FeedbackListener(database, opt_outs, settings.smtp_listen))
        await process.serve(RpcServer("feedback", settings.listen, process.verifier, database))
