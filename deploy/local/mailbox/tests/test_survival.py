"""What was acknowledged is there, whatever happens to the process."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from smtplib import SMTPException, SMTPServerDisconnected

from deploy.local.mailbox.tests.harness import Mailbox, running
from deploy.local.servers.program import free_address

SENDERS = 6


def _send_until_the_end(
    mailbox: Mailbox, name: int, acknowledged: set[str], enough: threading.Semaphore
) -> None:
    try:
        with mailbox.connect() as smtp:
            for number in range(100_000):
                recipient = f"reader-{name}-{number}@example.test"
                smtp.sendmail("a@shop.test", [recipient], b"Subject: x\r\n\r\nx\r\n")
                acknowledged.add(recipient)
                enough.release()
    except (SMTPException, SMTPServerDisconnected, OSError):
        pass


def test_a_killed_mailbox_has_every_message_it_acknowledged(tmp_path: Path) -> None:
    store = tmp_path / "mail.sqlite3"
    acknowledged: list[set[str]] = [set() for _ in range(SENDERS)]
    enough = threading.Semaphore(0)
    with running(store) as mailbox:
        senders = [
            threading.Thread(target=_send_until_the_end, args=(mailbox, name, acknowledged[name], enough))
            for name in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        for _ in range(300):
            assert enough.acquire(timeout=20)
        mailbox.process.kill()
        for sender in senders:
            sender.join(20)
    with running(store) as mailbox:
        kept = [
            to for message in mailbox.messages(limit=1000, view="basic") for to in message["envelope"]["to"]
        ]
        total = mailbox.http.get("/api/count").json()["count"]
    assert total == len(kept) == len(set(kept))
    assert set().union(*acknowledged) <= set(kept)


def test_a_report_waits_until_its_receiver_is_there(tmp_path: Path) -> None:
    """Through a restart, too: reports lie in the store."""
    receiver = free_address()
    with running(tmp_path / "mail.sqlite3", feedback=receiver) as mailbox, mailbox.connect() as smtp:
        smtp.sendmail("verp+1@shop.test", ["complaint@x.test"], b"Subject: x\r\n\r\nx\r\n")
    with (
        running(tmp_path / "other.sqlite3", smtp=receiver) as platform,
        running(tmp_path / "mail.sqlite3", feedback=receiver),
    ):
        assert platform.message_to("verp+1@shop.test")["subject"] == "Complaint about a message from you"


def test_an_emptied_mailbox_is_empty_and_goes_on(tmp_path: Path) -> None:
    with running(tmp_path / "mail.sqlite3") as mailbox:
        with mailbox.connect() as smtp:
            smtp.sendmail("a@shop.test", ["b@x.test"], b"Subject: x\r\n\r\nx\r\n")
        assert mailbox.http.delete("/api/messages").json() == {"deleted": 1}
        assert mailbox.messages() == []
        with mailbox.connect() as smtp:
            smtp.sendmail("a@shop.test", ["b@x.test"], b"Subject: y\r\n\r\ny\r\n")
        assert [message["subject"] for message in mailbox.messages(to="b@x.test")] == ["y"]


def test_a_port_that_is_taken_is_a_clear_error(mailbox: Mailbox) -> None:
    taken = {"smtp": mailbox.smtp, "http": str(mailbox.http.base_url).removeprefix("http://").rstrip("/")}
    for name, address in taken.items():
        environment = {f"MAILBOX_{other.upper()}_LISTEN": free_address() for other in taken}
        ended = subprocess.run(
            [sys.executable, "-m", "deploy.local.mailbox"],
            env={
                "PYTHONPATH": os.pathsep.join(sys.path),
                **environment,
                f"MAILBOX_{name.upper()}_LISTEN": address,
            },
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert ended.returncode != 0
        assert "in use" in ended.stderr
        assert address.rpartition(":")[2] in ended.stderr
        assert "Traceback" not in ended.stderr
