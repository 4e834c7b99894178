"""What arrives: signed so that others' verifiers agree, by the rules for its header, and just as it was written."""

import shutil
import subprocess
from collections.abc import Iterable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import dkim
import pytest

from deploy.local.nameserver.server import Nameserver
from flownurture.sending.v1 import domains_pb2
from services.sending.delivery.worker import Worker
from services.sending.domain_records import Platform
from services.sending.domains import Domain
from services.sending.tests.audience import Audience
from services.sending.tests.header_check import broken_rules
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

# Not everybody's PATH has where Debian puts it.
OPENDKIM = shutil.which("opendkim") or shutil.which("opendkim", path="/usr/sbin")

SUBJECT = "Sommer 🌞 schließt bald, {{ contact.first_name }} 👩‍👩‍👧"
TEXT = "\n".join(
    [
        ".",
        "..",
        ".hidden",
        "From me to you",
        "",
        "Grüße, 漢字, 🌻",
        "x" * 5_000,
        "tab\there  and spaces   ",
        "=3D= =\t",
        "end.",
    ]
)
HTML = "<body>\n.\n<p>{{ contact.first_name }} 漢字 &amp; 🌻</p>\n" + "<i>wörd</i>" * 800 + "\n.\n</body>"
READERS = {
    "reader@example.com": "Zoë",
    "reader@bücher.example": "漢字",
    "zoë@bücher.example": "A" * 300,
    "o'brien+tag@sub.example.com": "<b>\r\nBcc: x@example.com",
}


@pytest.fixture
async def domain(tenant: Tenant, nameserver: Nameserver) -> domains_pb2.Domain:
    """A verified domain of the tenant's."""
    tenant.subscribe("domain_authentication")
    name = f"{tenant.context.organization.hex[-12:]}.test"
    made = await tenant(domains_pb2.CreateDomainRequest(name=name))
    for record in made.records:
        value = f"{record.value}." if record.type == "CNAME" else record.value
        nameserver.zone.publish(record.name, record.type, [value])
    verified: domains_pb2.Domain = await tenant(domains_pb2.VerifyDomainRequest(domain_id=made.id))
    assert verified.status == domains_pb2.DOMAIN_STATUS_VERIFIED
    return verified


@pytest.fixture
async def mails(
    tenant: Tenant, audience: Audience, domain: domains_pb2.Domain, worker: Worker, relay: MailRelay
) -> dict[str, bytes]:
    """A campaign's mails as they arrived, by their readers; and one single message's."""
    for reader, name in READERS.items():
        audience.known[reader] = {"first_name": name}
    sender = {"from_email": f"news@{domain.name}", "from_name": "Zoë’s Shop, Inc."}
    await tenant.launch(*READERS, subject=SUBJECT, html=HTML, text=TEXT, **sender)
    await tenant.message("single@example.com", subject="🌞 " * 80, html=HTML, text=TEXT, **sender)
    await tenant.deliver(worker)
    assert len(relay.accepted) == len(READERS) + 1
    return dict(relay.accepted)


def parsed(raw: bytes) -> EmailMessage:
    mail = message_from_bytes(raw, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def keys_of(domain: domains_pb2.Domain) -> Iterable[Any]:
    return (record for record in domain.records if "._domainkey." in record.name)


async def test_delivered_mail_verifies_with_dkimpy(
    mails: dict[str, bytes], domain: domains_pb2.Domain
) -> None:
    published = {f"{record.name}.".encode(): record.value.encode() for record in keys_of(domain)}
    for raw in mails.values():
        found = [
            dkim.DKIM(raw).verify(number, dnsfunc=lambda name, **_: published.get(name)) for number in (0, 1)
        ]
        assert found == [True, True]


@pytest.mark.skipif(
    OPENDKIM is None,
    reason="left out without a verifier: `make opendkim` installs it as root, else install Debian's package opendkim",
)
def test_delivered_mail_verifies_with_opendkim(
    mails: dict[str, bytes], domain: domains_pb2.Domain, tmp_path: Path
) -> None:
    keys, configuration = tmp_path / "keys", tmp_path / "opendkim.conf"
    keys.write_text("".join(f"{record.name} {record.value}\n" for record in keys_of(domain)))
    configuration.write_text(f"Mode v\nTestPublicKeys {keys}\nSyslog no\nRequireSafeKeys no\n")
    for number, raw in enumerate(mails.values()):
        file = tmp_path / f"{number}.eml"
        file.write_bytes(raw)
        judged = subprocess.run(
            [str(OPENDKIM), "-x", str(configuration), "-t", str(file), "-vvv"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert judged.stdout.count("dkim=pass") == 2, judged.stdout


async def test_delivered_mail_keeps_the_rules_for_its_header(mails: dict[str, bytes]) -> None:
    for recipient, raw in mails.items():
        # Public URLs of tests are http.
        secure = raw.replace(b"List-Unsubscribe: <http:", b"List-Unsubscribe: <https:")
        assert broken_rules(secure, bulk=recipient != "single@example.com") == [], recipient


async def test_mail_from_the_platforms_domain_keeps_the_rules_too(
    tenant: Tenant, worker: Worker, relay: MailRelay, shared: Domain
) -> None:
    await tenant.launch(*READERS, subject=SUBJECT, html=HTML, text=TEXT)
    await tenant.deliver(worker)
    published = {
        f"{record.name}.".encode(): record.value.encode()
        for record in shared.records(Platform("mail.test", "spf.mail.test"))
    }
    assert len(relay.accepted) == len(READERS)
    for recipient, raw in relay.accepted:
        secure = raw.replace(b"List-Unsubscribe: <http:", b"List-Unsubscribe: <https:")
        assert broken_rules(secure, bulk=True) == [], recipient
        for number in (0, 1):
            assert dkim.DKIM(raw).verify(number, dnsfunc=lambda name, **_: published.get(name))


async def test_delivered_mail_says_what_was_written(mails: dict[str, bytes]) -> None:
    arrived = dict(
        zip(
            READERS,
            (mails[recipient] for recipient in mails if recipient != "single@example.com"),
            strict=True,
        )
    )
    for reader, raw in mails.items():
        mail = parsed(raw)
        assert mail["From"].addresses[0].display_name == "Zoë’s Shop, Inc."
        plain, rich = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
        assert plain.startswith(TEXT)
        assert "<i>wörd</i>" * 800 in rich
        if reader == "single@example.com":
            assert mail["Subject"] == ("🌞 " * 80).strip()
    by_name = {str(parsed(raw)["To"]): parsed(raw) for raw in arrived.values()}
    assert {"reader@example.com", "reader@xn--bcher-kva.example"} <= by_name.keys()
    assert by_name["reader@xn--bcher-kva.example"]["Subject"] == "Sommer 🌞 schließt bald, 漢字 👩‍👩‍👧"
    evil = by_name["o'brien+tag@sub.example.com"]
    assert evil["Bcc"] is None
    assert evil["Subject"] == "Sommer 🌞 schließt bald, <b> Bcc: x@example.com 👩‍👩‍👧"


@pytest.mark.parametrize(
    ("there", "instead", "rule"),
    [
        (b"From: ", b"From: a@b.test\r\nFrom: ", "RFC 5322 §3.6: from is there twice"),
        (b"Date: ", b"X-Date: ", "RFC 5322 §3.6: there is no date"),
        (b"@mail.test>\r\nDate", b">\r\nDate", "RFC 5322 §3.6.4"),
        (
            b"List-Unsubscribe: <https:",
            b"List-Unsubscribe: <http:",
            "RFC 8058 §3.1: List-Unsubscribe has no https",
        ),
        (b"<mailto:", b"<post:", "RFC 2369 §3.2: List-Unsubscribe has no mailto"),
        (b"=One-Click", b"=Two-Clicks", "RFC 8058 §3.1: List-Unsubscribe-Post"),
        (b":list-unsubscribe-post", b"", "RFC 8058 §4: the unsubscribe fields"),
        (b"DKIM-Signature", b"X-Signature", "RFC 8058 §4: the mail is not signed"),
        (b"List-Id: ", b"List-Id: no", "RFC 2919 §3"),
        (b"Feedback-ID: ", b"Feedback-ID: " + b"x" * 999, "RFC 5322 §2.1.1"),
        (b":flownurture\r\n", b":mail.flownurture.example\r\n", "Feedback-ID is not a:b:c:SenderId"),
        (b"Content-Type: multipart/alternative", b"Content-Type: text", "a defect"),
        (b"To: ", b"To: a\nBcc: b\r\nTo: ", "RFC 5322 §2.2: a bare"),
    ],
)
async def test_the_check_of_the_header_notices(
    mails: dict[str, bytes], there: bytes, instead: bytes, rule: str
) -> None:
    good = mails["reader@example.com"].replace(b"List-Unsubscribe: <http:", b"List-Unsubscribe: <https:")
    assert there in good
    assert any(broken.startswith(rule) for broken in broken_rules(good.replace(there, instead), bulk=True))
