"""What the suppression process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.relay import Relay
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.soundings import Soundings, events_of
from chassis.vault.settings import mail_wrapping_of
from services.sending.preference_links import PreferenceLinks
from services.sending.suppression.api.files import SuppressionFileApi
from services.sending.suppression.api.preferences import PreferencesApi
from services.sending.suppression.api.reported_opt_outs import ReportedOptOutApi
from services.sending.suppression.api.suppressions import SuppressionAdminApi, SuppressionApi
from services.sending.suppression.api.unsubscribe import UnsubscribeApi
from services.sending.suppression.consumers import consumers
from services.sending.suppression.contacts_peer import ContactsPeer
from services.sending.suppression.decisions.linking import Linking
from services.sending.suppression.identity_peer import IdentityPeer
from services.sending.suppression.opting_out import opting_out_together
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.suppression.settings import SuppressionSettings
from services.sending.suppression.sweep import Sweep
from services.sending.suppression.veto import OVERDUE
from services.sending.unsubscribe_links import UnsubscribeLinks


async def serve(settings: SuppressionSettings) -> None:
    """Run until told to stop."""
    async with Process("suppression", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=10))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        resubscriptions = Resubscriptions(await process.enter(RoleDatabase(settings.database_consent_url)))
        contacts = await process.enter(
            Peer(settings.contacts_target, "contacts", process.stamper, process.tls)
        )
        identity = await process.enter(
            Peer(settings.identity_target, "identity", process.stamper, process.tls)
        )
        bus = await process.enter(EventBus(settings))
        readers = consumers(bus, database, resubscriptions)
        process.start(Relay(relay, bus, domain="suppression", wake=database.outbox_written))
        for reader in readers:
            process.start(reader)
        process.start(Replays(relay, readers))
        process.start(Soundings(relay, events_of("suppression")))
        process.start(Soundings(scheduler, {"batches": OVERDUE}))
        process.start(Sweep(database, scheduler))
        process.start(Linking(database, scheduler))
        opting_out = opting_out_together(database)
        server = RpcServer("suppression", settings.listen, process.verifier, database, process.tls)
        server.add(
            SuppressionApi(),
            SuppressionAdminApi(database, IdentityPeer(identity)),
            SuppressionFileApi(database),
            UnsubscribeApi(opting_out, UnsubscribeLinks(settings.link_keys, settings.public_url)),
            PreferencesApi(
                database,
                opting_out,
                PreferenceLinks(settings.link_keys, settings.public_url),
                resubscriptions,
                ContactsPeer(contacts),
                sealed=SealedMails(mail_wrapping_of(settings)),
            ),
            ReportedOptOutApi(),
            DeadLetterService(relay, "suppression"),
        )
        await process.serve(server)
