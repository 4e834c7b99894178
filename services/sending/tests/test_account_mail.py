"""Mails about accounts are a stream of the platform's own: whatever organizations send, it touches neither their address nor their keys."""

from email import message_from_bytes, policy
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import Row, text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.sealing import Sealer
from chassis.vault.vault import Vault
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.sending.account_mail import AccountMail
from services.sending.bodies import Body, SealedBody
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.platform_domain import ensure_platform_domain
from services.sending.settings import SendingSettings
from services.sending.suppression.veto import decide
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.verification import fresh_keys

FROM = "hello@accounts.house.test"
LINK = "https://house.test/account/reset-password/SdCwZ6Xo0nGjVvGpTz6-5sU3uY1lqKeHn_8B2fWcRxA"

_BATCH = text("SELECT batch_id FROM messages WHERE id = :id")
_MESSAGE = text(
    "SELECT message.*, content.* FROM messages AS message JOIN message_contents AS content ON message_id = id WHERE id = :id"
)


@pytest.fixture(autouse=True)
async def domains(database: Database, vault: Vault, settings: DeliverySettings) -> None:
    for name in (settings.shared_domain, "accounts.house.test"):
        await ensure_platform_domain(database, name, vault, await fresh_keys())


async def order(
    database: Database,
    worker: Worker,
    to: str,
    *,
    order_id: UUID | None = None,
    body: Body | SealedBody | None = None,
) -> Row[Any]:
    """Have a mail about an account delivered; answers its message."""
    order_id, context = order_id or uuid4(), RequestContext.of_process("sending", PLATFORM)
    mail = AccountMail(database, from_email=FROM, from_name="House")
    await mail.send(order_id, to=to, subject="Your link", body=body or Body.of("", "Here"))
    async with database.tenant_transaction(context) as session:
        batch_id = await session.scalar(_BATCH, {"id": order_id})
        await decide(session, batch_id)
    await worker.deliver(context, batch_id)
    async with database.tenant_transaction(context) as session:
        return (await session.execute(_MESSAGE, {"id": order_id})).one()


def sealed_for(settings: DeliverySettings, order_id: UUID, to: str, said: str = LINK) -> SealedBody:
    """As identity seals it."""
    body = MailBody(to=to, html=f'<a href="{said}">Here</a>', text=said).SerializeToString()
    sealer = Sealer("sending", settings.sealed_mail_keys)
    return SealedBody(sealer.seal(body, table="message_contents", row=order_id, column="sealed_body"))


async def test_mails_about_accounts_come_from_a_domain_of_their_own(
    database: Database, settings: DeliverySettings, worker: Worker, relay: MailRelay, tenant: Tenant
) -> None:
    someone, other = f"{uuid4()}@example.com", f"{uuid4()}@example.com"
    assert (await order(database, worker, someone)).category == "system"
    await tenant.message(other, from_email=FROM)
    await tenant.deliver(worker)

    system, tenants = (
        message_from_bytes(relay.mail_to(to), policy=policy.default) for to in (someone, other)
    )
    assert system["From"] == f"House <{FROM}>"
    assert "d=accounts.house.test;" in system["DKIM-Signature"]
    assert relay.return_paths[someone].rpartition("@")[2] == "bounce.accounts.house.test"
    assert "List-Unsubscribe" not in system
    # Whoever writes the platform's address as their own gets nothing of it.
    assert f"@{settings.shared_domain}" in tenants["From"]
    assert f"d={settings.shared_domain};" in tenants["DKIM-Signature"]
    assert relay.return_paths[other].rpartition("@")[2] != "bounce.accounts.house.test"


async def test_a_link_that_lets_in_is_read_in_the_mail_and_nowhere_else(
    database: Database, settings: DeliverySettings, worker: Worker, relay: MailRelay
) -> None:
    order_id, to = uuid4(), f"{uuid4()}@example.com"
    sealed = sealed_for(settings, order_id, to)
    stored = await order(database, worker, to, order_id=order_id, body=sealed)
    mail = message_from_bytes(relay.mail_to(to), policy=policy.default)
    for form in ("plain", "html"):
        body = mail.get_body((form,))
        assert body is not None
        assert LINK in body.get_content()
    assert stored.status == "sent"
    assert stored.sealed_body == sealed.sealed
    assert LINK.rpartition("/")[2] not in str(tuple(stored))


@pytest.mark.parametrize(
    "turned", ["to another message", "to another recipient", "by another key", "cut off"]
)
async def test_what_was_sealed_for_a_message_and_its_recipient_goes_to_nobody_else(
    database: Database, settings: DeliverySettings, worker: Worker, relay: MailRelay, turned: str
) -> None:
    order_id, to = uuid4(), f"{uuid4()}@example.com"
    sealed = {
        "to another message": lambda: sealed_for(settings, uuid4(), to),
        "to another recipient": lambda: sealed_for(settings, order_id, f"{uuid4()}@example.com"),
        "by another key": lambda: SealedBody(b"\x05other" + sealed_for(settings, order_id, to).sealed),
        "cut off": lambda: SealedBody(sealed_for(settings, order_id, to).sealed[:-1]),
    }[turned]()
    message = await order(database, worker, to, order_id=order_id, body=sealed)
    assert relay.seen == []
    assert message.status == "failed"
    assert message.smtp_reply == "What it says is sealed and does not open."
    # One that cannot be read holds up none of the others.
    assert (await order(database, worker, to)).status == "sent"


def test_sending_does_not_start_with_one_domain_for_both(service_environment: Any) -> None:
    given = {name.lower(): value for name, value in service_environment("sending").items()}
    SendingSettings(**given)
    with pytest.raises(ValidationError, match="ACCOUNT_MAIL_FROM"):
        SendingSettings(**given | {"shared_domain": "accounts.flownurture.test"})
