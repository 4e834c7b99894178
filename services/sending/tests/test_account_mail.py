"""Mails about accounts are a stream of the platform's own: whatever organizations send, it touches neither their address nor their keys."""

from base64 import b64encode
from dataclasses import replace
from email import message_from_bytes, policy
from os import urandom
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import Row, text

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.sealed_mail import SealedMails
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.settings import mail_wrapping_of
from chassis.vault.tests.servers.http import serving
from chassis.vault.tests.servers.transit import TOKEN, Transit
from chassis.vault.vault import Vault
from chassis.vault.vault_transit import VaultTransit
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.sending.account_mail import AccountMail
from services.sending.bodies import Body, SealedBody
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.senders import Senders
from services.sending.delivery.settings import DeliverySettings
from services.sending.delivery.worker import Worker
from services.sending.platform_domain import ensure_platform_domain
from services.sending.settings import SendingSettings
from services.sending.suppression.veto import decide
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tracking.links import TrackingLinks
from services.sending.verification import fresh_keys

FROM = "hello@accounts.house.test"
OF_THE_PLATFORM = RequestContext.of_process("sending", PLATFORM)
LINK = "https://house.test/account/reset-password/SdCwZ6Xo0nGjVvGpTz6-5sU3uY1lqKeHn_8B2fWcRxA"

_BATCH = text("SELECT batch_id FROM messages WHERE id = :id")
_DUE = text("UPDATE messages SET next_attempt_at = now() WHERE id = :id")
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
    order_id = order_id or uuid4()
    batch_id = await approved(database, order_id, to, body or Body.of("", "Here"))
    await worker.deliver(OF_THE_PLATFORM, batch_id)
    return await message_of(database, order_id)


async def approved(database: Database, order_id: UUID, to: str, body: Body | SealedBody) -> UUID:
    """Have a mail about an account ready to go out; answers its batch."""
    mail = AccountMail(database, from_email=FROM, from_name="House")
    await mail.send(order_id, to=to, subject="Your link", body=body)
    async with database.tenant_transaction(OF_THE_PLATFORM) as session:
        batch_id: UUID = await session.scalar(_BATCH, {"id": order_id})
        await decide(session, batch_id)
    return batch_id


async def message_of(database: Database, order_id: UUID) -> Row[Any]:
    async with database.tenant_transaction(OF_THE_PLATFORM) as session:
        return (await session.execute(_MESSAGE, {"id": order_id})).one()


def saying(to: str, said: str = LINK) -> MailBody:
    return MailBody(to=to, html=f'<a href="{said}">Here</a>', text=said)


async def sealed_for(settings: DeliverySettings, order_id: UUID, to: str) -> SealedBody:
    """As identity seals it."""
    sealed = SealedMails(mail_wrapping_of(settings))
    return SealedBody(await sealed.seal(order_id, saying(to)))


def opening(
    post_office: PostOffice, senders: Senders, links: TrackingLinks, sealed: SealedMails
) -> PostOffice:
    """A delivery process that opens such mails like this."""
    return replace(post_office, drafts=Drafts(senders, links, sealed, "mail.test"))


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
    sealed = await sealed_for(settings, order_id, to)
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
    "turned",
    [
        "to another message",
        "to another recipient",
        "by another key",
        "by a key of before that there is not",
        "cut off",
    ],
)
async def test_what_was_sealed_for_a_message_and_its_recipient_goes_to_nobody_else(
    database: Database, settings: DeliverySettings, worker: Worker, relay: MailRelay, turned: str
) -> None:
    order_id, to = uuid4(), f"{uuid4()}@example.com"
    of_it = (await sealed_for(settings, order_id, to)).sealed
    by_another_key = SealedMails(FileWrapping({"local-1": Secret(b64encode(urandom(32)).decode())}))
    sealed = {
        "to another message": (await sealed_for(settings, uuid4(), to)).sealed,
        "to another recipient": (await sealed_for(settings, order_id, f"{uuid4()}@example.com")).sealed,
        "by another key": await by_another_key.seal(order_id, saying(to)),
        "by a key of before that there is not": b"\x05other" + of_it,
        "cut off": of_it[:-1],
    }[turned]
    message = await order(database, worker, to, order_id=order_id, body=SealedBody(sealed))
    assert relay.seen == []
    assert message.status == "failed"
    assert message.smtp_reply == "What it says is sealed and does not open."
    # One that cannot be read holds up none of the others.
    assert (await order(database, worker, to)).status == "sent"


async def test_while_nobody_unwraps_keys_a_sealed_mail_waits_alone_and_then_goes_out(
    *,
    database: Database,
    post_office: PostOffice,
    senders: Senders,
    tracking_links: TrackingLinks,
    relay: MailRelay,
) -> None:
    order_id, to, transit = uuid4(), f"{uuid4()}@example.com", Transit()
    plain_id, other = uuid4(), f"{uuid4()}@example.com"
    transit.rotate("mail")
    with serving(transit, "application/json") as url:
        wrapping = VaultTransit(url, "mail", mount="transit", token=Secret(TOKEN))
        sealed = SealedBody(await SealedMails(wrapping).seal(order_id, saying(to)))
        batch_ids = [
            await approved(database, order_id, to, sealed),
            await approved(database, plain_id, other, Body.of("", "Here")),
        ]
        transit.spoiled = 503, {"errors": ["Vault is sealed"]}
        async with opening(post_office, senders, tracking_links, SealedMails(wrapping)).open(relay) as post:
            await post.worker.deliver(OF_THE_PLATFORM, *batch_ids)
            waiting = await message_of(database, order_id)
            assert (waiting.status, waiting.attempts) == ("deferred", 0)
            assert waiting.smtp_reply == "the keeper of the key that it is sealed by does not answer"
            assert (await message_of(database, plain_id)).status == "sent"
            transit.spoiled = None
            async with database.tenant_transaction(OF_THE_PLATFORM) as session:
                await session.execute(_DUE, {"id": order_id})
            await post.worker.deliver(OF_THE_PLATFORM, *batch_ids)
    assert (await message_of(database, order_id)).status == "sent"
    assert LINK.encode() in relay.mail_to(to).replace(b"=\r\n", b"")


@pytest.mark.parametrize("keys_are_there", [True, False])
async def test_a_mail_that_was_sealed_before_there_were_envelopes_goes_out_while_its_keys_are_there(
    *,
    database: Database,
    settings: DeliverySettings,
    post_office: PostOffice,
    senders: Senders,
    tracking_links: TrackingLinks,
    relay: MailRelay,
    keys_are_there: bool,
) -> None:
    order_id, to, keys = uuid4(), f"{uuid4()}@example.com", settings.sealed_mail_keys
    assert keys is not None
    place: dict[str, Any] = {"table": "message_contents", "row": order_id, "column": "sealed_body"}
    before = SealedBody(Sealer("sending", keys).seal(saying(to).SerializeToString(), **place))
    sealed = SealedMails(mail_wrapping_of(settings), keys if keys_are_there else None)
    async with opening(post_office, senders, tracking_links, sealed).open(relay) as post:
        message = await order(database, post.worker, to, order_id=order_id, body=before)
    assert message.status == ("sent" if keys_are_there else "failed")
    assert bool(relay.seen) is keys_are_there


def test_sending_does_not_start_with_one_domain_for_both(service_environment: Any) -> None:
    given = {name.lower(): value for name, value in service_environment("sending").items()}
    SendingSettings(**given)
    with pytest.raises(ValidationError, match="ACCOUNT_MAIL_FROM"):
        SendingSettings(**given | {"shared_domain": "accounts.flownurture.test"})
