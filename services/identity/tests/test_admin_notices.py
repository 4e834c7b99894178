"""What happens to endpoints and connections reaches the admins whose address is proved, once, and nobody else."""

from uuid import uuid4

import pytest
from google.protobuf.message import Message
from sqlalchemy import text

from chassis.database import Database
from chassis.identifiers import new_id
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import account_pb2
from flownurture.identity.v1.events_pb2 import SendAccountMail
from flownurture.integrations.v1.connections_pb2 import PROVIDER_HUBSPOT
from flownurture.integrations.v1.events_pb2 import ConnectionNeedsAuthorization
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from services.identity.account_mails import AccountMails
from services.identity.consumers import consumers
from services.identity.tests import mails
from services.identity.tests.edge import Edge, Person


def disabled(reason: str) -> Message:
    return WebhookEndpointDisabled(
        endpoint_id=str(uuid4()), url="https://hooks.example.com/in", reason=reason
    )


def refused() -> Message:
    return ConnectionNeedsAuthorization(
        connection_id=str(uuid4()),
        provider=PROVIDER_HUBSPOT,
        account_name="Ferro <sales>",
        provider_title="HubSpot",
    )


async def hear(database: Database, organization: Person, event: Message, times: int = 1) -> None:
    envelope = Envelope(
        id=str(new_id()),
        organization_id=organization.answer.organization.id,
        type=event.DESCRIPTOR.full_name,
        payload=event.SerializeToString(),
    )
    readers = consumers(None, database, AccountMails("https://flownurture.test", mails.SEALED))  # type: ignore[arg-type]
    stream = "WEBHOOKS" if isinstance(event, WebhookEndpointDisabled) else "INTEGRATIONS"
    (reader,) = (each for each in readers if each.stream == stream)
    for _ in range(times):
        await reader.handle(envelope.SerializeToString())


async def told(database: Database, organization: Person) -> list[SendAccountMail]:
    async with database.tenant_transaction(organization.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    events = [Envelope.FromString(envelope) for envelope in envelopes]
    orders = [
        SendAccountMail.FromString(each.payload) for each in events if each.type.endswith("AccountMail")
    ]
    return [
        order for order in orders if "endpoint was disabled" in order.subject or "needs you" in order.subject
    ]


async def proved(edge: Edge, database: Database) -> Person:
    """An admin whose address is proved."""
    owner = await edge.sign_up(organization_name="Ferro & Daughters")
    token = await mails.newest(database, owner, "verify-email")
    await edge.call(edge.account.VerifyEmail, account_pb2.VerifyEmailRequest(token=token))
    return owner


async def test_an_admin_is_told_once_which_endpoint_and_why(edge: Edge, database: Database) -> None:
    owner = await proved(edge, database)
    await hear(database, owner, disabled("failing"), times=3)
    (mail,) = await told(database, owner)
    assert mail.to == owner.email
    assert mail.subject == "Ferro & Daughters: a webhook endpoint was disabled"
    assert "https://hooks.example.com/in" in mail.text
    assert "five days" in mail.text
    await hear(database, owner, disabled("gone"))
    assert "410" in (await told(database, owner))[1].text


async def test_an_admin_is_told_once_which_account_is_to_be_connected_again_and_where(
    edge: Edge, database: Database
) -> None:
    owner = await proved(edge, database)
    await hear(database, owner, refused(), times=3)
    (mail,) = await told(database, owner)
    assert mail.to == owner.email
    assert mail.subject == "Ferro & Daughters: a connection to HubSpot needs you"
    assert "the account Ferro <sales>, which Ferro & Daughters has connected" in mail.text
    assert "POST https://flownurture.test/v1/integrations/hubspot/authorize" in mail.text
    assert "Ferro &lt;sales&gt;" in mail.html


@pytest.mark.parametrize("event", [disabled("gone"), refused()], ids=["endpoint", "connection"])
async def test_an_address_that_nobody_has_proved_is_told_nothing(
    edge: Edge, database: Database, event: Message
) -> None:
    owner = await edge.sign_up()
    await hear(database, owner, event)
    assert await told(database, owner) == []
