"""Whatever comes in is kept as it came, and changes nothing."""

from collections.abc import Callable

import psycopg
import pytest
from aiosmtplib import SMTP, SMTPResponseException

from chassis.database import Database
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.sending.feedback.listener import FeedbackListener


async def test_a_report_is_kept_byte_for_byte(service_environment: Callable[[str], dict[str, str]]) -> None:
    environment = service_environment("feedback")
    to = f"bounces+{new_id()}@mail.test"
    content = b"Subject: Undeliverable\r\n\r\n..\r\n\xff\xfe\x00 broken\r\n"
    async with (
        Database(Secret(environment["DATABASE_URL"]), schema="sending") as database,
        FeedbackListener(database, "127.0.0.1:0") as listener,
        SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client,
    ):
        await client.mail("")
        await client.rcpt(to)
        assert (await client.data(content)).code == 250
    with psycopg.connect(environment["DATABASE_OWNER_URL"]) as owner:
        kept = owner.execute(
            "SELECT mail_from, content FROM sending.feedback_reports WHERE rcpt_to = %s", ([to],)
        ).fetchall()
    assert kept == [("", content)]


async def test_a_report_that_is_too_large_is_refused(
    service_environment: Callable[[str], dict[str, str]],
) -> None:
    environment = service_environment("feedback")
    async with (
        Database(Secret(environment["DATABASE_URL"]), schema="sending") as database,
        FeedbackListener(database, "127.0.0.1:0") as listener,
        SMTP(hostname="127.0.0.1", port=listener.port, start_tls=False) as client,
    ):
        await client.mail("someone@example.com")
        await client.rcpt("bounces@mail.test")
        with pytest.raises(SMTPResponseException) as refused:
            await client.data(b"x" * 78 + b"\r\n" * 1 + (b"y" * 78 + b"\r\n") * 140_000)
        assert refused.value.code == 552
