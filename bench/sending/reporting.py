"""Servers that report what came back, in a process of their own: each sends its next report on its connection when its last one is taken.

`python -m bench.sending.reporting PORT CONNECTIONS FILE`, with a recipient and the name of a mail of the corpus in each line of the
file, prints the seconds it took until all were taken.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from services.sending.feedback.tests.labelled_mail import corpus


def reports(file: Path) -> list[tuple[bytes, bytes]]:
    """Recipients, and mails as they go over the wire (RFC 5321 §4.5.2)."""
    mails = {mail.name: _on_the_wire(mail.content) for mail in corpus()}
    lines = (line.split(" ") for line in file.read_text().splitlines())
    return [(to.encode(), mails[name]) for to, name in lines]


async def send(port: int, waiting: Iterator[tuple[bytes, bytes]]) -> None:
    """Send of what waits, until nothing does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(words: bytes, code: bytes) -> None:
        writer.write(words)
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise SystemExit(f"not a {code.decode()}: {line.decode()}")

    await say(b"", b"220")
    await say(b"EHLO mx.example.net\r\n", b"250")
    for to, mail in waiting:
        await say(b"MAIL FROM:<>\r\n", b"250")
        await say(b"RCPT TO:<%s>\r\n" % to, b"250")
        await say(b"DATA\r\n", b"354")
        await say(mail, b"250")
    writer.close()


async def send_all(port: int, connections: int, file: Path) -> float:
    """Send all reports; answers in how many seconds."""
    waiting = iter(reports(file))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(send(port, waiting))
    return time.monotonic() - began


def _on_the_wire(content: bytes) -> bytes:
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b"\r\n.\r\n"


if __name__ == "__main__":
    print(uvloop.run(send_all(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
