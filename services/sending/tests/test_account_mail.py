"""Mails about accounts are a stream of the platform's own: whatever organizations send, it touches neither their address nor their keys."""

from email import message_from_bytes, policy
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.sealing import Sealer
from services.sending.account_mail import AccountMail
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.platform_domain import ensure_platform_domain
from services.sending.settings import SendingSettings
from services.sending.suppression.veto import decide
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.verification import fresh_keys

FROM = "hello@accounts.house.test"


@pytest.fixture(autouse=True)
async def domains(database: Database, sealer: Sealer, settings: DeliverySettings) -> None:
    for name in (settings.shared_domain, "accounts.house.test"):
        await ensure_platform_domain(database, name, sealer, await fresh_keys())


async def order(database: Database, worker: Worker, to: str) -> str:
    """Have a mail about an account delivered; answers the category of its message."""
    order_id, context = uuid4(), RequestContext.of_process("sending", PLATFORM)
    mail = AccountMail(database, from_email=FROM, from_name="House")
    await mail.send(order_id, to=to, subject="Your link", html="", text="Here")
    async with database.tenant_transaction(context) as session:
        found = await session.execute(
            text("SELECT batch_id, category FROM messages WHERE id = :id"), {"id": order_id}
        )
        message = found.one()
        await decide(session, message.batch_id)
    await worker.deliver(context, message.batch_id)
    return str(message.category)


async def test_mails_about_accounts_come_from_a_domain_of_their_own(
    database: Database, settings: DeliverySettings, worker: Worker, relay: MailRelay, tenant: Tenant
) -> None:
    someone, other = f"{uuid4()}@example.com", f"{uuid4()}@example.com"
    assert await order(database, worker, someone) == "system"
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


def test_sending_does_not_start_with_one_domain_for_both(service_environment: Any) -> None:
    given = {name.lower(): value for name, value in service_environment("sending").items()}
    SendingSettings(**given)
    with pytest.raises(ValidationError, match="ACCOUNT_MAIL_FROM"):
        SendingSettings(**given | {"shared_domain": "accounts.flownurture.test"})
