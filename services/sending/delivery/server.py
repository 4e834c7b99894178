"""What the delivery process consists of."""

from prometheus_client import REGISTRY

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.events import EventBus
from chassis.process import Process
from chassis.relay import Relay
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from chassis.soundings import Soundings, events_of
from chassis.vault.settings import former_sealer, mail_wrapping_of, wrapping_of
from chassis.vault.vault import Vault
from services.sending.batches import OVERDUE
from services.sending.delivery.consumers import approved_consumers
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.figures import Figures
from services.sending.delivery.journal import Journal
from services.sending.delivery.leases import Lease
from services.sending.delivery.letters import Letters
from services.sending.delivery.outcomes import Outcomes
from services.sending.delivery.recalls import Recalls
from services.sending.delivery.recovery import Recovery
from services.sending.delivery.relays import Relays
from services.sending.delivery.routes import Routes
from services.sending.delivery.senders import Senders
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.sweep import Sweep
from services.sending.delivery.worker import Worker
from services.sending.preference_links import PreferenceLinks
from services.sending.relay_address import RelayAddress
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses
from services.sending.tracking.links import TrackingLinks
from services.sending.unsubscribe_links import UnsubscribeLinks


async def serve(settings: DeliverySettings) -> None:
    """Run until told to stop: then what is in flight ends, and what was not begun is given back."""
    async with Process("delivery", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="sending", pool_size=12))
        relay = await process.enter(RoleDatabase(settings.database_relay_url))
        scheduler = await process.enter(RoleDatabase(settings.database_scheduler_url))
        bus = await process.enter(EventBus(settings))
        recovery = Recovery(database, scheduler, settings.journal_folder)
        # Before anybody else takes its remains for lost.
        await recovery.round()
        journal = await process.enter(Journal(settings.journal_folder))
        lease = await process.enter(Lease(scheduler, journal))
        outcomes = await process.enter(Outcomes(database, journal))
        REGISTRY.register(outcomes.busiest)
        vault = Vault("sending", wrapping_of(settings), former=former_sealer("sending", settings))
        shared = _relay(settings.smtp_url, "SMTP_URL").run_by(settings.smtp_provider or "")
        relays = await process.enter(
            Relays(
                shared=shared,
                system=_relay(settings.system_smtp_url, "SYSTEM_SMTP_URL")
                if settings.system_smtp_url
                else shared,
                hostname=settings.mail_hostname,
            )
        )
        REGISTRY.register(Figures(relays))
        senders = Senders(
            database,
            vault,
            shared_domain=settings.shared_domain,
            hostname=settings.mail_hostname,
        )
        drafts = Drafts(
            senders,
            TrackingLinks(settings.link_keys, settings.public_url),
            SealedMails(mail_wrapping_of(settings), settings.sealed_mail_keys),
            settings.mail_hostname,
        )
        links = UnsubscribeLinks(settings.link_keys, settings.public_url)
        letters = Letters(
            links,
            PreferenceLinks(settings.link_keys, settings.public_url),
            ReturnPaths(settings.link_keys),
            UnsubscribeAddresses(settings.link_keys),
            CarriedTokens(settings.link_keys),
        )
        recalls = Recalls(database)
        worker = Worker(
            database,
            lease,
            Routes(database, relays, vault),
            drafts=drafts,
            letters=letters,
            outcomes=outcomes,
            journal=journal,
            recalls=recalls,
        )
        consumers = approved_consumers(bus, database, worker)
        process.start(Relay(relay, bus, domain="delivery", wake=database.outbox_written))
        for consumer in consumers:
            process.start(consumer)
        process.start(Replays(relay, consumers))
        process.start(Soundings(relay, events_of("delivery")))
        process.start(Soundings(scheduler, {"batches": OVERDUE}))
        process.start(Sweep(database, scheduler, worker, lease))
        process.start(recovery)
        process.start(recalls)
        process.start(outcomes)
        process.start(worker)
        server = RpcServer("delivery", settings.listen, process.verifier, database, process.tls)
        await process.serve(server.add(DeadLetterService(relay, "delivery")))


def _relay(url: Secret, variable: str) -> RelayAddress:
    try:
        return RelayAddress.of(url)
    except ValueError as error:
        raise SystemExit(f"{variable} {error}") from None
