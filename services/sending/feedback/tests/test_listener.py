"""Whatever comes in is kept as it came."""

from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from aiosmtplib import SMTP, SMTPResponseException

from chassis.database import Database
from chassis.identifiers import new_id
from services.sending.feedback.intake import Intake
from services.sending.feedback.listener import FeedbackListener
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.origins import Origins
from services.sending.feedback.settings import FeedbackSettings
from services.sending.signed_addresses import UnsubscribeAddresses


@pytest.fixture
def environment(service_environment: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return service_environment("feedback")


@pytest.fixture
async def listener(environment: dict[str, str]) -> AsyncIterator[FeedbackListener]:
    settings = FeedbackSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]
    async with Database(settings.database_url, schema="sending") as database:
        unsubscribe_addresses = UnsubscribeAddresses(settings.link_keys)
        intake = Intake(database, Origins(settings.link_keys))
        opt_outs = OptOuts(database, unsubscribe_addresses)
        async with FeedbackListener(intake, opt_outs, "127.0.0.1:0") as listener:
            yield listener


async def test_a_report_is_kept_byte_for_byte(
    listener: FeedbackListener, owner_database_url: Callable[[str], str]
) -> None:
    to = f"bounces+{new_id()}@mail.test"
    content = b"Subject: Undeliverable\r\n\r\n..\r\n\xff\xfe\x00 broken\r\n"
    async with SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client:
        await client.mail("")
        await client.rcpt(to)
        assert (await client.data(content)).code == 250
    with psycopg.connect(owner_database_url("sending")) as owner:
        kept = owner.execute(
            "SELECT mail_from, content FROM sending.feedback_reports WHERE rcpt_to = %s", ([to],)
        ).fetchall()
    assert kept == [("", content)]


async def test_a_report_that_is_too_large_is_refused(listener: FeedbackListener) -> None:
    async with SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client:
        await client.mail("someone@example.com")
        await client.rcpt("bounces@mail.test")
        with pytest.raises(SMTPResponseException) as refused:
            await client.data(b"x" * 78 + b"\r\n" * 1 + (b"y" * 78 + b"\r\n") * 140_000)
        assert refused.value.code == 552
