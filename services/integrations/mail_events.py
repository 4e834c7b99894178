"""Events in: what happens to contacts' mail is what CRMs may show."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from chassis.consumer import Consumer, transactional
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.events import EventBus
from chassis.identifiers import milliseconds_of, parse_id
from flownurture.contacts.v1.events_pb2 import ContactsUnsubscribed
from flownurture.delivery.v1.events_pb2 import MessagesSettled
from flownurture.sending.v1.events_pb2 import CampaignLaunched, EmailsClicked, EmailsOpened
from flownurture.sending.v1.messages_pb2 import (
    MESSAGE_STATUS_BOUNCED,
    MESSAGE_STATUS_DELIVERED,
    MESSAGE_STATUS_SENT,
)
from services.integrations.sync import activities
from services.integrations.sync.activities import Happened, Kind

# Transactions of one stream at a time; the streams share the process' connections.
_CONCURRENCY = 4
# Handed over, as far as anybody knows.
_SENT = (MESSAGE_STATUS_SENT, MESSAGE_STATUS_DELIVERED)


def mail_consumers(bus: EventBus, database: Database) -> list[Consumer]:
    """Readers of the streams SENDING and DELIVERY."""
    return [
        Consumer(
            bus,
            stream="SENDING",
            durable="integrations",
            database=database,
            handlers={
                CampaignLaunched: transactional(on_campaign_launched),
                EmailsOpened: transactional(partial(on_engagements, Kind.OPENED)),
                EmailsClicked: transactional(partial(on_engagements, Kind.CLICKED)),
            },
            concurrency=_CONCURRENCY,
        ),
        Consumer(
            bus,
            stream="DELIVERY",
            durable="integrations",
            database=database,
            handlers={MessagesSettled: transactional(on_messages_settled)},
            concurrency=_CONCURRENCY,
        ),
    ]


async def on_campaign_launched(
    event: CampaignLaunched, context: RequestContext, session: TenantSession
) -> None:
    """What happens to its mail is shown under its name."""
    await activities.name_campaign(session, parse_id(event.campaign_id), event.name)


async def on_engagements(
    kind: Kind, event: EmailsOpened | EmailsClicked, context: RequestContext, session: TenantSession
) -> None:
    """CRMs show a message's first."""
    happened = [
        Happened(
            kind,
            parse_id(each.contact_id),
            of=parse_id(each.message_id),
            at=each.occurred_at.ToDatetime(UTC),
            campaign_id=_campaign(each.campaign_id),
            detail=each.url,
        )
        for each in event.engagements
        if each.is_first and each.contact_id
    ]
    await activities.note(session, happened)


async def on_messages_settled(
    event: MessagesSettled, context: RequestContext, session: TenantSession
) -> None:
    """CRMs show that a message was handed over, and that it came back."""
    await activities.note(session, list(_of_outcomes(event)))


def opted_out(event: ContactsUnsubscribed, event_id: UUID) -> Sequence[Happened]:
    """What CRMs show of people who opted out."""
    at = datetime.fromtimestamp(milliseconds_of(event_id) / 1000, UTC)
    return [
        Happened(Kind.UNSUBSCRIBED, parse_id(contact.id), of=event_id, at=at) for contact in event.contacts
    ]


def _of_outcomes(event: MessagesSettled) -> Iterator[Happened]:
    for outcome in event.outcomes:
        if not outcome.contact_id:
            continue
        came_back = outcome.status == MESSAGE_STATUS_BOUNCED
        if came_back or (outcome.status in _SENT and outcome.superseded_status not in _SENT):
            yield Happened(
                Kind.BOUNCED if came_back else Kind.SENT,
                parse_id(outcome.contact_id),
                of=parse_id(outcome.message_id),
                at=outcome.occurred_at.ToDatetime(UTC),
                campaign_id=_campaign(outcome.campaign_id),
                detail=outcome.smtp_reply if came_back else "",
            )


def _campaign(campaign_id: str) -> UUID | None:
    return parse_id(campaign_id) if campaign_id else None
