"""That an endpoint was disabled reaches the admins whose address is proved, once, and nobody else."""

from uuid import uuid4

from sqlalchemy import text

from chassis.database import Database
from chassis.identifiers import new_id
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import account_pb2
from flownurture.identity.v1.events_pb2 import SendAccountMail
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from services.identity.account_mails import AccountMails
from services.identity.consumers import consumers
from services.identity.tests import mails
from services.identity.tests.edge import Edge, Person


async def hear(database: Database, organization: Person, reason: str, times: int = 1) -> None:
    event = WebhookEndpointDisabled(
        endpoint_id=str(uuid4()), url="https://hooks.example.com/in", reason=reason
    )
    envelope = Envelope(
        id=str(new_id()),
        organization_id=organization.answer.organization.id,
        type=WebhookEndpointDisabled.DESCRIPTOR.full_name,
        payload=event.SerializeToString(),
    )
    readers = consumers(None, database, AccountMails("https://flownurture.test", mails.KEYS))  # type: ignore[arg-type]
    (reader,) = (each for each in readers if each.stream == "WEBHOOKS")
    for _ in range(times):
        await reader.handle(envelope.SerializeToString())


async def told(database: Database, organization: Person) -> list[SendAccountMail]:
    async with database.tenant_transaction(organization.context) as session:
        envelopes = (await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))).scalars().all()
    events = [Envelope.FromString(envelope) for envelope in envelopes]
    orders = [
        SendAccountMail.FromString(each.payload) for each in events if each.type.endswith("AccountMail")
    ]
    return [order for order in orders if "endpoint was disabled" in order.subject]


async def test_an_admin_is_told_once_which_endpoint_and_why(edge: Edge, database: Database) -> None:
    owner = await edge.sign_up(organization_name="Ferro & Daughters")
    token = await mails.newest(database, owner, "verify-email")
    await edge.call(edge.account.VerifyEmail, account_pb2.VerifyEmailRequest(token=token))
    await hear(database, owner, "failing", times=3)
    (mail,) = await told(database, owner)
    assert mail.to == owner.email
    assert mail.subject == "Ferro & Daughters: a webhook endpoint was disabled"
    assert "https://hooks.example.com/in" in mail.text
    assert "five days" in mail.text
    await hear(database, owner, "gone")
    assert "410" in (await told(database, owner))[1].text


async def test_an_address_that_nobody_has_proved_is_told_nothing(edge: Edge, database: Database) -> None:
    owner = await edge.sign_up()
    await hear(database, owner, "gone")
    assert await told(database, owner) == []
