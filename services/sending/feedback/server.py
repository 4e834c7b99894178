"""What the feedback process consists of."""

from datetime import timedelta

from chassis.database import Database, RoleDatabase
from chassis.process import Process
from chassis.rpc.server import RpcServer
from chassis.soundings import Soundings
from services.sending.feedback.api import ProviderReportApi
from services.sending.feedback.intake import Intake
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.origins import Origins
from services.sending.feedback.providers.directory import configured
from services.sending.feedback.providers.visits import Visits
from services.sending.feedback.reports import DUE, KeptReports
from services.sending.feedback.settings import FeedbackSettings
from services.sending.feedback.sweep import Forgetting, Sweep
from services.sending.signed_addresses import UnsubscribeAddresses


async def serve(settings: FeedbackSettings) -> None:
    """Run until told to stop."""
    async with Process("feedback", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=10))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        reports = KeptReports(scheduler)
        unsubscribe_addresses = UnsubscribeAddresses(settings.link_keys)
        intake = await process.enter(Intake(database, Origins(settings.link_keys)))
        process.start(Soundings(scheduler, {"feedback_reports": DUE}))
        process.start(Sweep(reports, intake))
        process.start(Forgetting(reports, timedelta(days=settings.reports_kept_days)))
        providers = configured(settings, Visits().get)
        opt_outs = OptOuts(database, unsubscribe_addresses)
        await process.enter(FeedbackListener(intake, opt_outs, settings.smtp_listen))
        server = RpcServer("feedback", settings.listen, process.verifier, database, process.tls)
        await process.serve(server.add(ProviderReportApi(providers, intake)))
