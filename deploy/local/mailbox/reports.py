"""The reports that mailbox providers send: complaints (RFC 5965) and bounces (RFC 3464).

They are joined from bytes, since they carry the message they are about exactly as it came.
"""

import re
import secrets
from datetime import UTC, datetime
from email.utils import format_datetime, make_msgid

from deploy.local.mailbox.addresses import ReportKind

HOSTNAME = "mailbox.test"
_END_OF_HEADERS = re.compile(rb"(?<=\n)\r?\n")
_CRLF = "\r\n"


def compose(kind: ReportKind, *, sender: str, recipient: str, received_at: float, content: bytes) -> bytes:
    """The report to `sender` about a message that `recipient` got at `received_at` (Unix time)."""
    arrived = format_datetime(datetime.fromtimestamp(received_at, UTC))
    match kind:
        case ReportKind.COMPLAINT:
            return _report(
                "feedback-report",
                {"From": f"abuse@{HOSTNAME}", "To": sender, "Subject": "Complaint about a message from you"},
                f"{recipient} marked a message from you, received {arrived}, as spam.",
                _complaint_fields(sender, recipient, arrived),
                ("message/rfc822", content),
            )
        case ReportKind.BOUNCE:
            return _report(
                "delivery-status",
                {
                    "From": f"MAILER-DAEMON@{HOSTNAME}",
                    "To": sender,
                    "Subject": "Undelivered mail returned to sender",
                    "Auto-Submitted": "auto-replied",
                },
                f"Your message could not be delivered to {recipient}: there is no such mailbox.",
                _bounce_fields(recipient, arrived),
                ("text/rfc822-headers", _END_OF_HEADERS.split(content, maxsplit=1)[0]),
            )


def _complaint_fields(sender: str, recipient: str, arrived: str) -> str:
    return _fields(
        {
            "Feedback-Type": "abuse",
            "User-Agent": "FlowNurture-mailbox-simulator/1",
            "Version": "1",
            "Original-Mail-From": f"<{sender}>",
            "Original-Rcpt-To": f"<{recipient}>",
            "Arrival-Date": arrived,
            "Reporting-MTA": f"dns; {HOSTNAME}",
        }
    )


def _bounce_fields(recipient: str, arrived: str) -> str:
    of_message = {"Reporting-MTA": f"dns; {HOSTNAME}", "Arrival-Date": arrived}
    of_recipient = {
        "Final-Recipient": f"{'rfc822' if recipient.isascii() else 'utf-8'}; {recipient}",
        "Action": "failed",
        "Status": "5.1.1",
        "Diagnostic-Code": "smtp; 550 5.1.1 There is no such mailbox here",
    }
    return _fields(of_message) + _CRLF + _fields(of_recipient)


def _report(
    kind: str, headers: dict[str, str], explanation: str, fields: str, original: tuple[str, bytes]
) -> bytes:
    """A multipart/report (RFC 6522): for people, for programs, and what it is about."""
    boundary = f"report-{secrets.token_hex(16)}"
    original_type, original_content = original
    head = _fields(
        {
            **headers,
            "Date": format_datetime(datetime.now(UTC)),
            "Message-ID": make_msgid(domain=HOSTNAME),
            "MIME-Version": "1.0",
            "Content-Type": f'multipart/report; report-type={kind}; boundary="{boundary}"',
            "Content-Transfer-Encoding": "8bit",
        }
    )
    parts = (
        ("text/plain; charset=utf-8", f"{explanation}{_CRLF}".encode()),
        (f"message/{kind}", fields.encode()),
        (original_type, original_content),
    )
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode()
        + content
        + b"\r\n"
        for content_type, content in parts
    )
    return f"{head}{_CRLF}".encode() + body + f"--{boundary}--\r\n".encode()


def _fields(fields: dict[str, str]) -> str:
    return "".join(f"{name}: {value}{_CRLF}" for name, value in fields.items())
