"""Wires the mailbox simulator: the store, its writer, the SMTP and the HTTP listener, the reports."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from granian.constants import Interfaces
from granian.server.embed import Server

from deploy.local.mailbox.feedback import Feedback
from deploy.local.mailbox.intake import Intake
from deploy.local.mailbox.settings import MailboxSettings, host_and_port
from deploy.local.mailbox.smtp import Sessions
from deploy.local.mailbox.store import Store
from deploy.local.mailbox.web import Web


async def serve(settings: MailboxSettings) -> None:
    """Serve until SIGTERM or SIGINT; raises RuntimeError when a part of it ends before."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as parts:
        store = Store(
            settings.mailbox_store or Path(parts.enter_context(TemporaryDirectory())) / "mail.sqlite3"
        )
        feedback = _feedback(settings, store)
        intake = Intake(store, feedback)
        parts.push_async_callback(intake.close)
        await parts.enter_async_context(_smtp(settings, intake))
        must_live: set[asyncio.Future[None]] = {intake.ended}
        must_live.add(await parts.enter_async_context(_web(settings, store)))
        if feedback:
            must_live.add(asyncio.create_task(feedback.run()))
        structlog.get_logger().info(
            "mailbox_open", smtp=settings.mailbox_smtp_listen, http=settings.mailbox_http_listen
        )
        await _until(stop, must_live)


def _feedback(settings: MailboxSettings, store: Store) -> Feedback | None:
    if not settings.feedback_smtp:
        return None
    return Feedback(store, *host_and_port(settings.feedback_smtp), settings.mailbox_report_seconds)


@asynccontextmanager
async def _smtp(settings: MailboxSettings, intake: Intake) -> AsyncIterator[None]:
    host, port = host_and_port(settings.mailbox_smtp_listen)
    sessions = Sessions(intake, settings.mailbox_slow_seconds)
    server = await asyncio.get_running_loop().create_server(sessions.begin, host, port, backlog=1024)
    try:
        yield
    finally:
        server.close()
        sessions.close()


@asynccontextmanager
async def _web(settings: MailboxSettings, store: Store) -> AsyncIterator[asyncio.Task[None]]:
    host, port = host_and_port(settings.mailbox_http_listen)
    _refuse_taken(host, port)
    server = Server(
        Web(store), address=host, port=port, interface=Interfaces.ASGINL, websockets=False, log_enabled=False
    )
    task = asyncio.create_task(server.serve())
    try:
        yield task
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([task], timeout=5)


def _refuse_taken(host: str, port: int) -> None:
    """Raise OSError when somebody listens there: the HTTP server would share the port and get half of the requests."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"{host}:{port}: {error.strerror}") from None


async def _until(stop: asyncio.Event, must_live: set[asyncio.Future[None]]) -> None:
    """Wait for `stop`; raises what ended a part that must live, or RuntimeError when nothing did."""
    for part in must_live:
        part.add_done_callback(lambda _: stop.set())
    await stop.wait()
    for part in must_live:
        if part.done():
            part.result()
            raise RuntimeError("a part of the mailbox ended by itself")
