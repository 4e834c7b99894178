"""How the simulator speaks SMTP, on real connections."""

import socket
import time
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused

import pytest

from deploy.local.mailbox.envelope import MAX_MESSAGE_BYTES
from deploy.local.mailbox.settings import host_and_port
from deploy.local.mailbox.tests.harness import DEADLINE, Mailbox

MAIL = b"From: Shop <news@shop.test>\r\nSubject: News\r\n\r\nHello\r\n"
EXTENSIONS = ["pipelining", "8bitmime", "smtputf8", "size", "enhancedstatuscodes"]


class Wire:
    """A connection whose packets we choose ourselves."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.socket = socket.create_connection(host_and_port(mailbox.smtp), DEADLINE)
        self.lines = self.socket.makefile("rb")
        assert self.lines.readline().startswith(b"220 ")

    def say(self, packet: bytes) -> None:
        self.socket.sendall(packet)

    def reply(self) -> str:
        while (line := self.lines.readline().decode())[3:4] == "-":
            pass
        return line.strip()

    def replies(self, number: int) -> list[str]:
        return [self.reply()[:3] for _ in range(number)]


@pytest.fixture
def wire(mailbox: Mailbox) -> Wire:
    wire = Wire(mailbox)
    wire.say(b"EHLO sender.test\r\n")
    wire.reply()
    return wire


def test_mail_arrives_as_it_was_sent(mailbox: Mailbox, address: str) -> None:
    with mailbox.connect() as smtp:
        assert smtp.sendmail("bounce+7@shop.test", [address], MAIL) == {}
    message = mailbox.message_to(address)
    assert message["envelope"] == {"from": "bounce+7@shop.test", "to": [address]}
    assert message["raw"] == MAIL.decode()
    assert message["headers"]["Subject"] == ["News"]


def test_the_extensions_are_advertised(mailbox: Mailbox) -> None:
    with mailbox.connect() as smtp:
        smtp.ehlo()
        assert [name for name in EXTENSIONS if not smtp.has_extn(name)] == []
        assert smtp.esmtp_features["size"] == str(MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("suffix", ["", "+17", "+a+b"])
@pytest.mark.parametrize(
    ("local", "code", "status"),
    [("bounce", 550, b"5.1.1"), ("soft-bounce", 451, b"4.2.2"), ("BoUnCe", 550, b"5.1.1")],
)
def test_simulated_addresses_refuse_with_or_without_a_suffix(
    mailbox: Mailbox, local: str, code: int, status: bytes, suffix: str
) -> None:
    recipient = f"{local}{suffix}@anywhere.test"
    with mailbox.connect() as smtp, pytest.raises(SMTPRecipientsRefused) as refusal:
        smtp.sendmail("a@shop.test", [recipient], MAIL)
    answer = refusal.value.recipients[recipient]
    assert (answer[0], answer[1][:5]) == (code, status)


@pytest.mark.parametrize(
    "recipient", ["success@x.test", "bouncer@x.test", "my-bounce@x.test", "postmaster@x.test"]
)
def test_every_other_address_accepts(mailbox: Mailbox, recipient: str) -> None:
    with mailbox.connect() as smtp:
        assert smtp.sendmail("a@shop.test", [recipient], MAIL) == {}


def test_one_refused_recipient_does_not_keep_mail_from_the_others(mailbox: Mailbox, address: str) -> None:
    with mailbox.connect() as smtp:
        refused = smtp.sendmail("a@shop.test", ["bounce@x.test", address], MAIL)
    assert list(refused) == ["bounce@x.test"]
    assert mailbox.message_to(address)["envelope"]["to"] == [address]


def test_slow_answers_late_and_has_the_mail_before_it_answers(
    mailbox: Mailbox, wire: Wire, address: str
) -> None:
    wire.say(f"MAIL FROM:<a@shop.test>\r\nRCPT TO:<slow@x.test>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode())
    assert wire.replies(4) == ["250", "250", "250", "354"]
    began = time.monotonic()
    wire.say(MAIL + b".\r\nNOOP\r\n")
    mailbox.message_to(address)
    assert wire.replies(2) == ["250", "250"]
    assert time.monotonic() - began >= 0.5


def test_a_whole_conversation_in_one_packet_is_answered_in_order(
    mailbox: Mailbox, wire: Wire, address: str
) -> None:
    envelope = (
        f"MAIL FROM:<a@shop.test>\r\nRCPT TO:<{address}>\r\nRCPT TO:<bounce@x.test>\r\nDATA\r\n".encode()
    )
    wire.say((envelope + MAIL + b".\r\n") * 3 + b"RSET\r\nQUIT\r\n")
    assert wire.replies(17) == ["250", "250", "550", "354", "250"] * 3 + ["250", "221"]
    assert len(mailbox.messages(to=address)) == 3


def test_packets_may_end_anywhere(mailbox: Mailbox, wire: Wire, address: str) -> None:
    whole = f"MAIL FROM:<a@shop.test>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode() + MAIL + b"..\r\n.\r\n"
    for index in range(len(whole)):
        wire.say(whole[index : index + 1])
    assert wire.replies(4) == ["250", "250", "354", "250"]
    assert mailbox.message_to(address)["raw"] == MAIL.decode() + ".\r\n"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"", ""),
        (b"..\r\n", ".\r\n"),
        (b"a\r\n..b\r\n...\r\nc\r\n", "a\r\n.b\r\n..\r\nc\r\n"),
        (b"a\n.\nb\r\n", "a\n.\nb\r\n"),
        (b"a\n.\r\nb\r\n", "a\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n", "a\r\n\nb\r\n"),
    ],
)
def test_only_a_dot_between_true_line_ends_ends_a_message(
    mailbox: Mailbox, wire: Wire, address: str, sent: bytes, kept: str
) -> None:
    wire.say(f"MAIL FROM:<a@shop.test>\r\nRCPT TO:<{address}>\r\nDATA\r\n".encode() + sent + b".\r\n")
    assert wire.replies(4) == ["250", "250", "354", "250"]
    assert mailbox.message_to(address)["raw"] == kept


def test_addresses_and_text_of_any_script_arrive(mailbox: Mailbox, address: str) -> None:
    recipient = f"δοκιμή-{address}"
    content = "Subject: Grüße\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nЗдравствуйте\r\n".encode()
    with mailbox.connect() as smtp:
        smtp.sendmail("größe@shop.test", [recipient], content, ["SMTPUTF8", "BODY=8BITMIME"])
    message = mailbox.message_to(recipient)
    assert message["subject"] == "Grüße"
    assert message["parts"][0]["content"] == "Здравствуйте\r\n"
    assert mailbox.http.get(f"/api/messages/{message['id']}/raw").content == content


def test_an_address_of_another_script_needs_smtputf8(wire: Wire) -> None:
    wire.say("MAIL FROM:<größe@shop.test>\r\n".encode())
    assert wire.reply().startswith("553 5.6.7")


def test_a_message_that_is_announced_too_large_is_refused_at_once(mailbox: Mailbox) -> None:
    with mailbox.connect() as smtp, pytest.raises(SMTPSenderRefused) as refusal:
        smtp.sendmail("a@shop.test", ["b@x.test"], MAIL, [f"size={MAX_MESSAGE_BYTES + 1}"])
    assert refusal.value.smtp_code == 552


def test_a_message_that_grows_too_large_is_refused_and_the_connection_goes_on(
    mailbox: Mailbox, address: str
) -> None:
    with mailbox.connect() as smtp:
        smtp.helo()
        with pytest.raises(SMTPDataError) as refusal:
            smtp.sendmail("a@shop.test", [address], MAIL + b"x" * 998 * (MAX_MESSAGE_BYTES // 998 + 1))
        assert refusal.value.smtp_code == 552
        smtp.sendmail("a@shop.test", [address], MAIL)
    assert mailbox.message_to(address)["raw"] == MAIL.decode()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"RCPT TO:<a@x.test>", "503"),
        (b"DATA", "503"),
        (b"MAIL FROM:a@x.test", "501"),
        (b"MAIL FROM:<a@x.test> SIZE=many", "555"),
        (b"MAIL FROM:<a@x.test> MAGIC=1", "555"),
        (b"MAIL TO:<a@x.test>", "501"),
        (b"MAIL FROM:<a b@x.test>", "501"),
        (b"HELO", "501"),
        (b"GET / HTTP/1.1", "500"),
        (b"\xff\xfe", "500"),
        (b"", "500"),
        (b"A" * 5000, "500"),
    ],
)
def test_what_makes_no_sense_is_refused(wire: Wire, command: bytes, code: str) -> None:
    wire.say(command + b"\r\n")
    assert wire.reply().startswith(code)


def test_a_report_has_no_sender_and_every_message_a_recipient(wire: Wire) -> None:
    wire.say(b"MAIL FROM:<>\r\nRCPT TO:<>\r\nDATA\r\n")
    assert wire.replies(3) == ["250", "501", "554"]
