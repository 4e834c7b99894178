"""Complaints and bounces, as a reader of RFC 5965 and RFC 3464 sees them."""

import sqlite3
from contextlib import closing
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default
from pathlib import Path
from typing import cast

from deploy.local.mailbox.tests.harness import Mailbox, running
from deploy.local.servers.program import free_address

MAIL = "From: news@shop.test\r\nMessage-ID: <1@shop.test>\r\nSubject: Grüße\r\n\r\nHallo Ümläut\r\n".encode()


def _messages_in(part: MIMEPart) -> list[EmailMessage]:
    return cast(list[EmailMessage], part.get_payload())


def _report_about(mailbox: Mailbox, recipient: str, sender: str) -> EmailMessage:
    with mailbox.connect() as smtp:
        smtp.sendmail(sender, [recipient], MAIL, ["BODY=8BITMIME"])
    report = mailbox.message_to(sender)
    assert report["envelope"]["from"] == ""
    raw = mailbox.http.get(f"/api/messages/{report['id']}/raw").content
    return message_from_bytes(raw, policy=default)


def test_a_complaint_is_reported_to_the_envelope_sender(mailbox: Mailbox, address: str) -> None:
    report = _report_about(mailbox, "complaint+9@x.test", address)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "feedback-report"
    _, fields, original = report.iter_parts()
    assert fields.get_content_type() == "message/feedback-report"
    feedback = _messages_in(fields)[0]
    assert feedback["Feedback-Type"] == "abuse"
    assert feedback["Original-Rcpt-To"] == "<complaint+9@x.test>"
    assert feedback["Original-Mail-From"] == f"<{address}>"
    assert _messages_in(original)[0]["Message-ID"] == "<1@shop.test>"
    assert MAIL in report.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_a_later_bounce_is_reported_to_the_envelope_sender(mailbox: Mailbox, address: str) -> None:
    report = _report_about(mailbox, "async-bounce+9@x.test", address)
    assert report.get_param("report-type") == "delivery-status"
    _, status, original = report.iter_parts()
    of_message, of_recipient = _messages_in(status)
    assert of_message["Reporting-MTA"] == "dns; mailbox.test"
    assert of_recipient["Final-Recipient"] == "rfc822; async-bounce+9@x.test"
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.1.1")
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Message-ID: <1@shop.test>" in original.get_content()


def test_a_report_causes_no_report(tmp_path: Path) -> None:
    store = tmp_path / "mail.sqlite3"
    with running(store, feedback=free_address()) as mailbox, mailbox.connect() as smtp:
        smtp.sendmail("", ["async-bounce@x.test"], MAIL, ["BODY=8BITMIME"])
        smtp.sendmail("verp+1@shop.test", ["async-bounce@x.test"], MAIL, ["BODY=8BITMIME"])
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("SELECT recipient FROM reports").fetchall() == [("verp+1@shop.test",)]
