"""No mail, however broken, stops its reader."""

from base64 import b64encode
from time import perf_counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.secret import Secret
from services.sending.bounces import Kind
from services.sending.feedback.mail import Mail
from services.sending.feedback.origins import Origins
from services.sending.feedback.tests.broken_mail import MAILS, broken_mail
from services.sending.feedback.understanding import understand

KEYS = [Secret(b64encode(bytes(range(32))).decode())]
ORIGINS = Origins(KEYS)
FUZZED = settings(
    max_examples=MAILS or 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FUZZED
@given(broken_mail())
def test_every_mail_can_be_read_and_names_no_message_without_a_token(content: bytes) -> None:
    mail = Mail(content)
    finding = understand(mail)
    assert isinstance(finding.kind, Kind)
    stored = (finding.rule, finding.enhanced_status, finding.diagnosis, finding.reporter)
    assert b"\0" not in "".join(stored).encode()
    assert ORIGINS.of(["bounces@mail.example.com"], mail) == []


@FUZZED
@given(st.binary(max_size=2_000))
def test_any_bytes_can_be_read(content: bytes) -> None:
    understand(Mail(content))


def test_what_is_made_to_take_long_does_not() -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth) for depth in range(5_000)
    )
    within = b"Content-Type: message/rfc822\n\n" * 5_000
    tags = b"From: mailer-daemon@example.net\nContent-Type: text/html\n\n" + b"<style " * 100_000
    words = b"From: mailer-daemon@example.net\n\n" + b"user mailbox recipient account was not be " * 50_000
    digits = b"From: mailer-daemon@example.net\n\n" + b"550 5.1." * 100_000
    fields = b"Subject: x\n" * 200_000
    encoded = b"Subject: " + b"=?utf-8?Q?=20?=" * 100_000 + b"\n\n"
    began = perf_counter()
    for content in (nested, within, tags, words, digits, fields, encoded):
        understand(Mail(content))
    assert perf_counter() - began < 10
