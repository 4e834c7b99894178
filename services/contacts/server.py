"""What the contacts process consists of."""

from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.dead_letters import Replays
from chassis.erasure import Erasures
from chassis.erasure_service import ErasureService
from chassis.events import EventBus
from chassis.export import Export
from chassis.export_service import ExportService
from chassis.process import Process
from chassis.relay import Relay
from chassis.retention import REQUESTS_AND_EVENTS, Forgetting
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.soundings import Soundings, events_of
from chassis.vault.settings import mail_wrapping_of
from services.contacts.api.audience import AudienceApi
from services.contacts.api.bulk_changes import BulkChangeApi
from services.contacts.api.contacts import ContactApi
from services.contacts.api.custom_fields import CustomFieldApi
from services.contacts.api.exports import ExportApi
from services.contacts.api.form_pages import FormPageApi
from services.contacts.api.forms import FormApi
from services.contacts.api.imports import ImportApi
from services.contacts.api.list_choices import ListChoiceApi
from services.contacts.api.lists import ListApi
from services.contacts.api.segments import SegmentApi
from services.contacts.api.synced_contacts import SyncedContactApi
from services.contacts.api.tags import TagApi
from services.contacts.api.usage import ContactUsageApi
from services.contacts.api.workflow_contacts import WorkflowContactApi
from services.contacts.bulk_changes import bulk_change_worker
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.consumers import consumers, identity_consumer
from services.contacts.exported_columns import EXPORT_RULES
from services.contacts.form_lookup import FormLookup
from services.contacts.form_retention import UNCONFIRMED
from services.contacts.identity_peer import IdentityPeer
from services.contacts.import_worker import import_worker
from services.contacts.job_figures import unfinished
from services.contacts.segment_watches import SegmentWatcher
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
        lookup = await process.enter(RoleDatabase(settings.database_lookup_url))
        bus = await process.enter(EventBus(settings))
        identity = await process.enter(
            Peer(settings.identity_target, "identity", process.stamper, process.tls)
        )
        links = ConfirmationLinks(settings.link_keys, settings.public_url)
        erasures = Erasures(database, scheduler, process="contacts")
        readers = [*consumers(bus, database), identity_consumer(bus, database, erasures)]
        imports = import_worker(database, scheduler)
        bulk_changes = bulk_change_worker(database, scheduler)
        process.start(Relay(relay, bus, domain="contacts", wake=database.outbox_written))
        for reader in readers:
            process.start(reader)
        process.start(Replays(relay, readers))
        process.start(Soundings(relay, events_of("contacts")))
        waiting = {table: unfinished(table) for table in ("imports", "bulk_changes")}
        process.start(Soundings(scheduler, waiting))
        process.start(Forgetting(scheduler, *REQUESTS_AND_EVENTS, UNCONFIRMED))
        process.start(erasures)
        process.start(imports)
        process.start(bulk_changes)
        process.start(SegmentWatcher(database, scheduler))
        server = RpcServer("contacts", settings.listen, process.verifier, database, process.tls)
        server.add(
            ContactApi(),
            ListApi(),
            TagApi(),
            CustomFieldApi(begun=bulk_changes.wake.set),
            SegmentApi(),
            BulkChangeApi(begun=bulk_changes.wake.set),
            ImportApi(database, created=imports.wake.set),
            ExportApi(database),
            FormApi(settings.public_url),
            FormPageApi(
                database,
                FormLookup(lookup),
                links,
                IdentityPeer(identity),
                SealedMails(mail_wrapping_of(settings)),
            ),
            AudienceApi(database),
            ListChoiceApi(),
            ContactUsageApi(),
            WorkflowContactApi(database),
            SyncedContactApi(database, IdentityPeer(identity)),
            DeadLetterService(relay, "contacts"),
            ErasureService(),
            ExportService(Export(database, "services.contacts", EXPORT_RULES)),
        )
        await process.serve(server)
