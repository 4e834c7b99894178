"""A mailbox process on free ports, and how tests talk to it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from smtplib import SMTP
from typing import Any, cast

import httpx

from deploy.local.mailbox.settings import host_and_port
from deploy.local.servers.program import free_address

DEADLINE = 20


@dataclass(frozen=True)
class Mailbox:
    process: subprocess.Popen[bytes]
    smtp: str
    http: httpx.Client

    def connect(self) -> SMTP:
        return SMTP(*host_and_port(self.smtp), local_hostname="sender.test", timeout=DEADLINE)

    def messages(self, **query: str | int) -> list[dict[str, Any]]:
        answer = self.http.get("/api/messages", params=query).raise_for_status().json()
        return cast(list[dict[str, Any]], answer["messages"])

    def message_to(self, address: str) -> dict[str, Any]:
        """The one message to an address, as soon as it is there."""
        deadline = time.monotonic() + DEADLINE
        while not (found := self.messages(to=address)):
            assert time.monotonic() < deadline, f"nothing came to {address}"
            time.sleep(0.05)
        (message,) = found
        return message


@contextmanager
def running(
    store: Path, *, smtp: str = "", feedback: str = "", slow_seconds: float = 0.5
) -> Iterator[Mailbox]:
    smtp, http = smtp or free_address(), free_address()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MAILBOX_SMTP_LISTEN": smtp,
        "MAILBOX_HTTP_LISTEN": http,
        "MAILBOX_STORE": str(store),
        "MAILBOX_SLOW_SECONDS": str(slow_seconds),
        "MAILBOX_REPORT_SECONDS": "0.1",
        "FEEDBACK_SMTP": feedback or smtp,
    }
    process = subprocess.Popen([sys.executable, "-m", "deploy.local.mailbox"], env=environment)
    with httpx.Client(base_url=f"http://{http}", timeout=DEADLINE) as client:
        try:
            _wait_until_ready(client, process)
            yield Mailbox(process, smtp, client)
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None, "the mailbox ended"
        assert time.monotonic() < deadline, "the mailbox does not become ready"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
