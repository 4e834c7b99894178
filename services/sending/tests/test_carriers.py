"""A provider that mail is handed to is given a token for each message, and nobody else is."""

import json
from collections.abc import Callable
from email import message_from_bytes, policy
from uuid import UUID

import pytest

from services.sending.delivery.carriers import Provider
from services.sending.delivery.settings import DeliverySettings
from services.sending.feedback.providers.directory import EVENTS
from services.sending.signed_addresses import CarriedTokens, ReturnPaths
from services.sending.tests.post import PostOffice
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

# Where each provider finds the token, as its documentation has it.
FIELDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "brevo": ("X-Mailin-custom", lambda value: value),
    "mailgun": ("X-Mailgun-Variables", lambda value: str(json.loads(value)["flownurture"])),
    "postmark": ("X-PM-Metadata-flownurture", lambda value: value),
    "sendgrid": ("X-SMTPAPI", lambda value: str(json.loads(value)["unique_args"]["flownurture"])),
}
ALL_FIELDS = {field.lower() for field, _ in FIELDS.values()}


async def handed_over(
    tenant: Tenant, office: PostOffice, relay: MailRelay, provider: str
) -> dict[UUID, bytes]:
    """Mails as the relay got them, a campaign's and a single message's, by message."""
    async with office.open(relay, provider=provider) as post:
        await tenant.launch("ada@example.com", "zoe@example.com")
        await tenant.message("single@example.com")
        await tenant.deliver(post.worker)
    rows = await tenant.rows("SELECT id, email FROM messages")
    assert len(rows) == 3
    return {row.id: relay.mail_to(row.email) for row in rows}


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("provider", FIELDS)
async def test_a_provider_carries_a_token_of_each_message_in_a_field_that_is_not_signed(
    tenant: Tenant, post_office: PostOffice, relay: MailRelay, settings: DeliverySettings, provider: str
) -> None:
    name, read = FIELDS[provider]
    mails = await handed_over(tenant, post_office, relay, provider)
    for message_id, content in mails.items():
        mail = message_from_bytes(content, policy=policy.default)
        told = CarriedTokens(settings.link_keys).open(read(mail[name]))
        assert told == (tenant.context.organization, message_id)
        assert {field.lower() for field in mail} & ALL_FIELDS == {name.lower()}
        assert "feedback-id" in mail["DKIM-Signature"]
        assert name.lower() not in mail["DKIM-Signature"].lower()


@pytest.mark.parametrize("provider", ["ses", ""])
async def test_nothing_is_carried_where_the_return_path_tells_or_nobody_asks(
    tenant: Tenant, post_office: PostOffice, relay: MailRelay, settings: DeliverySettings, provider: str
) -> None:
    mails = await handed_over(tenant, post_office, relay, provider)
    for content in mails.values():
        assert not {field.lower() for field in message_from_bytes(content)} & ALL_FIELDS
    opened = {ReturnPaths(settings.link_keys).open(path)[1] for path in relay.return_paths.values()}
    assert opened == set(mails)


def test_the_providers_that_mail_is_handed_to_are_those_that_are_listened_to() -> None:
    assert set(Provider) == set(EVENTS)
