"""Events in: what was vetoed or settled makes room for more of its campaign and is counted; mails that others order, people who are
erased.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from chassis.consumer import Consumer, Inbox, idempotent, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.erasure import Erasures
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.identifiers import parse_id
from chassis.standstill import standing_still
from flownurture.contacts.v1.events_pb2 import ContactsDeleted, SendConfirmationMail
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.identity.v1.events_pb2 import (
    OrganizationErased,
    OrganizationErasureRequested,
    OrganizationErasureTakenBack,
    SendAccountMail,
)
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SendsVetoed
from services.sending.account_mail import AccountMail
from services.sending.analytics.message_counts import Outcome, count_messages
from services.sending.analytics.refusals import Refusal, note_refusals
from services.sending.bodies import Body, SealedBody
from services.sending.confirmation_mail import send_confirmation
from services.sending.dispatch import Dispatch
from services.sending.erasure import forget
from services.sending.standstill import stop_everything
from services.sending.statuses import MessageStatus

_REFUSALS = {
    messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE: Refusal.UNSUBSCRIBED,
    messages_pb2.SUPPRESSION_REASON_COMPLAINT: Refusal.COMPLAINED,
}


class OutcomeReader:
    """Lets campaigns go on, or complete, on the events of the suppression and the delivery process, and counts what they tell."""

    def __init__(self, database: Database, dispatch: Dispatch) -> None:
        self._database = database
        self._dispatch = dispatch

    def consumers(self, bus: EventBus) -> list[Consumer]:
        """Readers of the streams SUPPRESSION and DELIVERY."""
        return [
            Consumer(
                bus,
                stream="SUPPRESSION",
                durable="sending",
                database=self._database,
                handlers={
                    SendsVetoed: self._on_vetoed,
                    AddressesSuppressed: transactional(on_addresses_suppressed),
                },
            ),
            Consumer(
                bus,
                stream="DELIVERY",
                durable="sending",
                database=self._database,
                handlers={MessagesSettled: self._on_settled},
            ),
        ]

    async def _on_vetoed(self, event: SendsVetoed, context: RequestContext, inbox: Inbox) -> None:
        self._wake({event.campaign_id}, context)
        now = datetime.now(UTC)
        await self._count(context, inbox, ((now, MessageStatus.VETOED) for _ in event.messages))

    async def _on_settled(self, event: MessagesSettled, context: RequestContext, inbox: Inbox) -> None:
        self._wake({outcome.campaign_id for outcome in event.outcomes}, context)
        outcomes = (
            (outcome.occurred_at.ToDatetime(tzinfo=UTC), _status(outcome.status))
            for outcome in event.outcomes
        )
        superseded = (
            (outcome.superseded_at.ToDatetime(tzinfo=UTC), _status(outcome.superseded_status))
            for outcome in event.outcomes
            if outcome.superseded_status
        )
        await self._count(context, inbox, outcomes, superseded)

    async def _count(
        self,
        context: RequestContext,
        inbox: Inbox,
        outcomes: Iterable[Outcome],
        superseded: Iterable[Outcome] = (),
    ) -> None:
        async with self._database.tenant_transaction(context) as session:
            if await inbox.receive(session):
                await count_messages(session, outcomes, superseded)

    def _wake(self, campaign_ids: set[str], context: RequestContext) -> None:
        # A single message belongs to no campaign.
        for campaign_id in campaign_ids - {""}:
            self._dispatch.wake(context, parse_id(campaign_id))


async def on_addresses_suppressed(
    event: AddressesSuppressed, context: RequestContext, session: TenantSession
) -> None:
    """Note the refusals among them, by the mail that they came of."""
    for reason, refusal in _REFUSALS.items():
        refused = {
            parse_id(address.message_id)
            for address in event.addresses
            if address.reason == reason and address.message_id
        }
        await note_refusals(session, refusal, refused)


def _status(value: "messages_pb2.MessageStatus.ValueType") -> MessageStatus:
    return MessageStatus[messages_pb2.MessageStatus.Name(value).removeprefix("MESSAGE_STATUS_")]


class ContactsReader:
    """Does for the contacts process what takes mail: confirmations that it orders, and forgetting whom it has erased."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def consumers(self, bus: EventBus) -> list[Consumer]:
        """Readers of the streams CONTACTS and CONFIRMATION_MAIL."""
        return [
            Consumer(
                bus,
                stream="CONTACTS",
                durable="sending",
                database=self._database,
                handlers={ContactsDeleted: idempotent(self._on_contacts_deleted)},
            ),
            Consumer(
                bus,
                stream="CONFIRMATION_MAIL",
                durable="sending",
                database=self._database,
                handlers={SendConfirmationMail: self._on_send_confirmation_mail},
            ),
        ]

    async def _on_contacts_deleted(self, event: ContactsDeleted, context: RequestContext) -> None:
        async with self._database.tenant_transaction(context) as session:
            on_the_wire = await forget(session, list(map(parse_id, event.contact_ids)), event.email_digests)
        if on_the_wire:
            # What is being handed over needs its address until it is settled; the event comes again.
            raise Unavailable("Messages to erased contacts are being handed over.")

    async def _on_send_confirmation_mail(
        self, order: SendConfirmationMail, context: RequestContext, inbox: Inbox
    ) -> None:
        async with self._database.tenant_transaction(context) as session:
            await send_confirmation(session, inbox.event_id, order)


class AccountMailReader:
    """Carries out identity's orders of mails about accounts."""

    def __init__(self, database: Database, mail: AccountMail) -> None:
        self._database = database
        self._mail = mail

    def consumer(self, bus: EventBus) -> Consumer:
        """The reader of the stream ACCOUNT_MAIL."""
        return Consumer(
            bus,
            stream="ACCOUNT_MAIL",
            durable="sending",
            database=self._database,
            handlers={SendAccountMail: self._on_send_account_mail},
        )

    async def _on_send_account_mail(self, order: SendAccountMail, _: RequestContext, inbox: Inbox) -> None:
        # Not in the organization that the order came from: the event's id makes it one mail all the same.
        body = SealedBody(order.sealed_body) if order.sealed_body else Body.of(order.html, order.text)
        await self._mail.send(inbox.event_id, to=order.to, subject=order.subject, body=body)


class OrganizationsReader:
    """Stops what goes out for an organization that is to be erased, and erases it."""

    def __init__(self, database: Database, erasures: Erasures) -> None:
        self._database = database
        self._erasures = erasures

    def consumer(self, bus: EventBus) -> Consumer:
        """The reader of the stream IDENTITY."""
        return Consumer(
            bus,
            stream="IDENTITY",
            durable="sending",
            database=self._database,
            handlers={
                OrganizationErasureRequested: standing_still(True, stop_everything),
                OrganizationErasureTakenBack: standing_still(False),
                OrganizationErased: self._erasures.handler,
            },
        )
