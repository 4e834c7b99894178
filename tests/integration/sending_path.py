"""The services between a contact and its mail, within one process: their own code on real servers, with nothing in between but the test.

Calls go over gRPC, mail over SMTP out and in, rows into PostgreSQL. What the services publish stays in their outboxes until the test hands it to a
reader: later, in another order, more than once. The clock of the workflows is moved by it, too.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from aiosmtplib import SMTP
from google.protobuf.message import Message
from sqlalchemy import text

from chassis.consumer import Consumer
from chassis.contract.events import message_type
from chassis.database import Database, RoleDatabase
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from chassis.vault.settings import mail_wrapping_of, wrapping_of
from chassis.vault.vault import Vault
from flownurture.contacts.v1 import forms_pb2, lists_pb2
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1 import workflows_pb2
from services.contacts.api.audience import AudienceApi
from services.contacts.api.contacts import ContactApi
from services.contacts.api.form_pages import FormPageApi
from services.contacts.api.forms import FormApi
from services.contacts.api.imports import ImportApi
from services.contacts.api.list_choices import ListChoiceApi
from services.contacts.api.lists import ListApi
from services.contacts.api.workflow_contacts import WorkflowContactApi
from services.contacts.bulk_changes import bulk_change_worker
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.consumers import consumers as contacts_consumers
from services.contacts.form_lookup import FormLookup
from services.contacts.identity_peer import IdentityPeer as ContactsIdentity
from services.contacts.import_worker import import_worker
from services.contacts.settings import ContactsSettings
from services.contacts.tests.plan import Plan as ContactsPlan
from services.contacts.tests.tenant import Tenant as ContactsTenant
from services.contacts.tests.tenant import Workers
from services.sending.api.campaigns import CampaignApi
from services.sending.api.messages import MessageApi
from services.sending.consumers import ContactsReader, OutcomeReader
from services.sending.contacts_peer import ContactsPeer
from services.sending.delivery.consumers import approved_consumers
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.letters import Letters
from services.sending.delivery.senders import Senders
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.dispatch import Dispatch
from services.sending.fan_out import FanOut
from services.sending.feedback.intake import Intake
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.origins import Origins
from services.sending.identity_peer import IdentityPeer as SendingIdentity
from services.sending.platform_domain import ensure_platform_domain
from services.sending.preference_links import PreferenceLinks
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses
from services.sending.suppression.api.preferences import PreferencesApi
from services.sending.suppression.api.suppressions import SuppressionApi
from services.sending.suppression.api.unsubscribe import UnsubscribeApi
from services.sending.suppression.consumers import consumers as suppression_consumers
from services.sending.suppression.contacts_peer import ContactsPeer as SuppressionContacts
from services.sending.suppression.opting_out import opting_out_together
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.tests.audience import Audience
from services.sending.tests.plan import Plan as SendingPlan
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant as SendingTenant
from services.sending.tests.workflow_runs import MovedClock
from services.sending.tracking.links import TrackingLinks
from services.sending.unsubscribe_links import UnsubscribeLinks
from services.sending.verification import fresh_keys
from services.sending.workflows.advancing import Advancing
from services.sending.workflows.consumers import Happenings
from services.sending.workflows.lifecycle import activate_workflow, create_workflow
from services.sending.workflows.people import PeoplePeer
from services.sending.workflows.runner import Runner
from services.sending.workflows.tests.drafts import document, go_to, mail, wait

Environment = Callable[[str], dict[str, str]]

_PUBLISHED = text("SELECT id, envelope FROM outbox WHERE id > :after ORDER BY id")
# Who reads what a domain publishes, as `deploy/nats/streams.toml` has it for these processes.
_READERS = {
    "contacts": ("sending", "suppression", "workflows"),
    "sending": ("suppression", "contacts", "workflows"),
    "suppression": ("delivery", "sending", "contacts", "workflows"),
    "delivery": ("suppression", "sending", "contacts"),
    "workflows": ("suppression", "contacts"),
}


@dataclass(frozen=True)
class Organization:
    """One organization as its members use it, with a list of contacts, a form by which people come onto it, and a workflow for them."""

    contacts: ContactsTenant
    sending: SendingTenant
    list_id: str
    form: forms_pb2.Form
    # Writes to whoever joins the list, and again every two days.
    workflow_id: UUID

    @property
    def id(self) -> UUID:
        """Its id."""
        return self.sending.context.organization


@dataclass(frozen=True, eq=False)
class Notice:
    """An event on its way to one of those who read it."""

    envelope: Envelope
    reader: str

    @property
    def event(self) -> Message:
        """What it tells."""
        event: Message = message_type(self.envelope.type).FromString(self.envelope.payload)
        return event


@dataclass
class SendingPath:
    """All of it. `readers` are the processes' consumers, by the process."""

    gateway_to_contacts: Peer
    gateway_to_sending: Peer
    gateway_to_suppression: Peer
    contacts: Database
    sending: Database
    workers: Workers
    fan_out: FanOut
    worker: Worker
    sealed_mails: SealedMails
    clock: MovedClock
    advancing: Advancing
    runner: Runner
    relay: MailRelay
    unsubscribe_links: UnsubscribeLinks
    preference_links: PreferenceLinks
    return_paths: ReturnPaths
    unsubscribe_addresses: UnsubscribeAddresses
    intake: Intake
    feedback_port: int
    readers: dict[str, Sequence[Consumer]]
    _read: dict[tuple[UUID, Database], UUID] = field(default_factory=lambda: defaultdict(lambda: UUID(int=0)))

    async def found(self) -> Organization:
        """A fresh organization."""
        contacts = ContactsTenant(self.gateway_to_contacts, self.contacts, self.workers)
        sending = SendingTenant(
            self.gateway_to_sending, self.gateway_to_suppression, self.sending, Audience(), self.fan_out
        )
        sending.context = replace(sending.context, organization_id=contacts.context.organization)
        readers: lists_pb2.List = await contacts(lists_pb2.CreateListRequest(name="Readers", is_public=True))
        form: forms_pb2.Form = await contacts(
            forms_pb2.CreateFormRequest(
                name="Blog", consent_text="Yes", from_email="news@shop.test", list_ids=[readers.id]
            )
        )
        written = document(
            mail("letter"),
            wait("pause"),
            go_to("again", "letter"),
            trigger={"list_joined": {"list_id": readers.id}},
            re_enrollment={"rule": workflows_pb2.RE_ENROLLMENT_RULE_AFTER_EXIT},
        )
        async with self.sending.tenant_transaction(sending.context) as session:
            workflow = await create_workflow(session, "Letters", written)
            await activate_workflow(session, workflow)
        return Organization(contacts, sending, readers.id, form, workflow.id)

    async def write(self, to: str, content: bytes) -> None:
        """Send a mail to an address of ours, as receiving servers and people do, and let it have its effect."""
        async with SMTP(hostname="127.0.0.1", port=self.feedback_port, start_tls=False) as client:
            await client.sendmail("", [to], content)
        await self.intake.finish()

    async def wake(self, organization: Organization) -> None:
        """Let two days pass for the workflows, and take those on in the one of the organization who are due."""
        self.clock.move(days=2)
        self.runner.wake(organization.id, organization.workflow_id)
        await self.runner.settled()

    async def published(self, organization: Organization) -> list[Notice]:
        """What its services have published since they were asked last, once for each who reads it."""
        notices = []
        for database in (self.contacts, self.sending):
            place = (organization.id, database)
            async with database.tenant_transaction(organization.sending.context, read_only=True) as session:
                rows = (await session.execute(_PUBLISHED, {"after": self._read[place]})).all()
            for row in rows:
                self._read[place] = row.id
                envelope = Envelope.FromString(row.envelope)
                notices += [Notice(envelope, reader) for reader in _READERS[envelope.type.split(".")[1]]]
        return notices

    async def hand_over(self, notice: Notice) -> None:
        """Let the reader handle it, once more if it has before."""
        for consumer in self.readers[notice.reader]:
            await consumer.handle(notice.envelope.SerializeToString())
        await self.runner.settled()


def _given(environment: Environment, process: str) -> dict[str, Any]:
    return {name.lower(): value for name, value in environment(process).items()}


@asynccontextmanager
async def sending_path(environment: Environment, folder: Path) -> AsyncIterator[SendingPath]:
    """Open it; what delivery keeps on disk stands in the folder."""
    contacts_settings = ContactsSettings(**_given(environment, "contacts"))
    settings = DeliverySettings(**_given(environment, "delivery"))
    sealed_mails = SealedMails(mail_wrapping_of(settings))
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database_url, schema="sending"))
        scheduler = await stack.enter_async_context(RoleDatabase(settings.database_scheduler_url))
        consent_url = Secret(environment("suppression")["DATABASE_CONSENT_URL"])
        resubscriptions = Resubscriptions(await stack.enter_async_context(RoleDatabase(consent_url)))
        contacts_database = await stack.enter_async_context(
            Database(contacts_settings.database_url, schema="contacts")
        )
        contacts_scheduler = await stack.enter_async_context(
            RoleDatabase(contacts_settings.database_scheduler_url)
        )
        lookup = await stack.enter_async_context(RoleDatabase(contacts_settings.database_lookup_url))

        async def serve(name: str, database: Database | None, *apis: Any) -> Callable[[str], Any]:
            verifier = StampVerifier(name, settings.stamp_trusted_keys)
            server = await stack.enter_async_context(
                RpcServer(name, "127.0.0.1:0", verifier, database).add(*apis)
            )

            async def peer(caller: str) -> Peer:
                stamper = Stamper(caller, Secret(environment(caller)["STAMP_PRIVATE_KEY"]))
                return await stack.enter_async_context(Peer(f"127.0.0.1:{server.port}", name, stamper))

            return peer

        contacts_plan = await serve("identity", None, ContactsPlan())
        sending_plan = await serve("identity", None, SendingPlan())
        workers = Workers(
            import_worker(contacts_database, contacts_scheduler),
            bulk_change_worker(contacts_database, contacts_scheduler),
        )
        contacts = await serve(
            "contacts",
            contacts_database,
            ContactApi(),
            ListApi(),
            ImportApi(contacts_database, created=workers.imports.wake.set),
            FormApi(contacts_settings.public_url),
            FormPageApi(
                contacts_database,
                FormLookup(lookup),
                ConfirmationLinks(contacts_settings.link_keys, contacts_settings.public_url),
                ContactsIdentity(await contacts_plan("contacts")),
                sealed_mails,
            ),
            AudienceApi(contacts_database),
            ListChoiceApi(),
            WorkflowContactApi(contacts_database),
        )
        recipients = ContactsPeer(await contacts("sending"))
        dispatch = Dispatch(database, scheduler)
        sending = await serve(
            "sending",
            database,
            CampaignApi(database, recipients, launched=lambda *_: None),
            MessageApi(database),
        )
        unsubscribe_links = UnsubscribeLinks(settings.link_keys, settings.public_url)
        preference_links = PreferenceLinks(settings.link_keys, settings.public_url)
        opting_out = opting_out_together(database)
        suppression = await serve(
            "suppression",
            database,
            SuppressionApi(),
            UnsubscribeApi(opting_out, unsubscribe_links),
            PreferencesApi(
                database,
                opting_out,
                preference_links,
                resubscriptions,
                SuppressionContacts(await contacts("suppression")),
                sealed=sealed_mails,
            ),
        )
        vault = Vault("sending", wrapping_of(settings))
        await ensure_platform_domain(database, settings.shared_domain, vault, await fresh_keys())
        return_paths = ReturnPaths(settings.link_keys)
        unsubscribe_addresses = UnsubscribeAddresses(settings.link_keys)
        intake = await stack.enter_async_context(Intake(database, Origins(settings.link_keys)))
        feedback = await stack.enter_async_context(
            FeedbackListener(intake, OptOuts(database, unsubscribe_addresses), "127.0.0.1:0")
        )
        letters = Letters(
            unsubscribe_links,
            preference_links,
            return_paths,
            unsubscribe_addresses,
            CarriedTokens(settings.link_keys),
        )
        senders = Senders(database, vault, shared_domain=settings.shared_domain, hostname="mail.test")
        drafts = Drafts(
            senders,
            TrackingLinks(settings.link_keys, settings.public_url),
            sealed_mails,
            "mail.test",
        )
        relay = await stack.enter_async_context(MailRelay())
        post = await stack.enter_async_context(
            PostOffice(folder, database, scheduler, drafts, letters, vault).open(relay)
        )
        clock = MovedClock(datetime.now(UTC))
        people = PeoplePeer(await contacts("workflows"))
        advancing = Advancing(database, people, SendingIdentity(await sending_plan("workflows")), clock)
        runner = Runner(scheduler, advancing)
        no_bus: Any = None
        yield SendingPath(
            await contacts("gateway"),
            await sending("gateway"),
            await suppression("gateway"),
            contacts_database,
            database,
            workers,
            FanOut(
                database,
                scheduler,
                recipients,
                SendingIdentity(await sending_plan("sending")),
                dispatch,
                batch=2,
            ),
            post.worker,
            sealed_mails,
            clock,
            advancing,
            runner,
            relay,
            unsubscribe_links,
            preference_links,
            return_paths,
            unsubscribe_addresses,
            intake,
            feedback.port,
            {
                "contacts": contacts_consumers(no_bus, contacts_database),
                "suppression": suppression_consumers(no_bus, database, resubscriptions),
                "sending": [
                    *OutcomeReader(database, dispatch).consumers(no_bus),
                    *ContactsReader(database).consumers(no_bus),
                ],
                "delivery": approved_consumers(no_bus, database, post.worker),
                "workflows": Happenings(database, people, advancing, runner).consumers(no_bus),
            },
        )
