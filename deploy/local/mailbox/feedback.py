"""Sends complaints and bounces to where the platform listens for them, some time after the message."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import aiosmtplib
import structlog
from prometheus_client import Counter

from deploy.local.mailbox.addresses import ReportKind
from deploy.local.mailbox.reports import HOSTNAME, compose
from deploy.local.mailbox.store import Store

# The listener may come up later than we: try for about an hour, less and less often.
_MOST_ATTEMPTS = 70
_LONGEST_PAUSE_SECONDS = 60.0
_MOST_AT_ONCE = 100

REPORTED = Counter("mailbox_reports_sent_total", "Complaints and bounces that the platform took.")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cause:
    """What a report will be about."""

    kind: ReportKind
    sender: str
    recipient: str
    received_at: float
    content: bytes


@dataclass(frozen=True, slots=True)
class _Report:
    id: int
    recipient: str
    content: bytes
    attempts: int


class Feedback:
    """The reports still to be sent. They lie in the store, so none is lost when this process is."""

    def __init__(self, store: Store, host: str, port: int, delay_seconds: float) -> None:
        self._store = store
        self._host, self._port = host, port
        self._delay = delay_seconds
        self._loop = asyncio.get_running_loop()
        self._scheduled = asyncio.Event()

    def schedule(self, connection: sqlite3.Connection, causes: Iterable[Cause]) -> None:
        """Note the reports in the transaction that keeps the messages; callable from any thread.

        A message without a sender is a report itself and causes none (RFC 3464 §2).
        """
        connection.executemany(
            "INSERT INTO reports (recipient, content, due_at) VALUES (?, ?, ?)",
            [
                (
                    cause.sender,
                    compose(
                        cause.kind,
                        sender=cause.sender,
                        recipient=cause.recipient,
                        received_at=cause.received_at,
                        content=cause.content,
                    ),
                    cause.received_at + self._delay,
                )
                for cause in causes
                if cause.sender
            ],
        )

    def look_again(self) -> None:
        """Tell that reports were committed; callable from any thread."""
        self._loop.call_soon_threadsafe(self._scheduled.set)

    async def run(self) -> None:
        """Send what is due, for as long as the process lives; asleep while there is nothing."""
        while True:
            self._scheduled.clear()
            if due := await asyncio.to_thread(self._due):
                await self._send(due)
            else:
                await self._wait(await asyncio.to_thread(self._seconds_to_next))

    async def _wait(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._scheduled.wait()

    def _due(self) -> list[_Report]:
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT id, recipient, content, attempts FROM reports WHERE due_at <= ? ORDER BY due_at LIMIT ?",
                (time.time(), _MOST_AT_ONCE),
            )
            return [_Report(**row) for row in rows]

    def _seconds_to_next(self) -> float | None:
        with self._store.reading() as connection:
            (due_at,) = connection.execute("SELECT min(due_at) FROM reports").fetchone()
        return None if due_at is None else max(0.0, due_at - time.time())

    async def _send(self, reports: list[_Report]) -> None:
        """Hand the reports over on one connection; those that were not taken are tried again."""
        settled: set[int] = set()
        try:
            async with aiosmtplib.SMTP(
                hostname=self._host,
                port=self._port,
                local_hostname=HOSTNAME,
                timeout=20,
                start_tls=False,
            ) as client:
                for report in reports:
                    if await _offer(client, report):
                        settled.add(report.id)
        except (aiosmtplib.SMTPException, OSError) as error:
            _log.debug("feedback_not_reached", host=self._host, port=self._port, error=str(error))
        await asyncio.to_thread(self._settle, reports, settled)

    def _settle(self, reports: list[_Report], settled: set[int]) -> None:
        given_up = {
            report.id for report in reports if report.id not in settled and report.attempts >= _MOST_ATTEMPTS
        }
        now = time.time()
        with self._store.writing() as connection:
            connection.executemany(
                "DELETE FROM reports WHERE id = ?", [(report_id,) for report_id in settled | given_up]
            )
            connection.executemany(
                "UPDATE reports SET attempts = attempts + 1, due_at = ? WHERE id = ?",
                [
                    (now + _pause(report.attempts), report.id)
                    for report in reports
                    if report.id not in settled | given_up
                ],
            )
        if given_up:
            _log.warning("reports_given_up", reports=len(given_up))


async def _offer(client: aiosmtplib.SMTP, report: _Report) -> bool:
    """Offer a report; False when it is to be offered again later."""
    options = ["BODY=8BITMIME"] if client.supports_extension("8bitmime") else []
    if not report.recipient.isascii():
        options.append("SMTPUTF8")
    try:
        await client.sendmail("", [report.recipient], report.content, mail_options=options)
    except aiosmtplib.SMTPRecipientsRefused as refused:
        return _is_final(report, refused.recipients[0])
    except aiosmtplib.SMTPResponseException as refused:
        return _is_final(report, refused)
    REPORTED.inc()
    return True


def _is_final(report: _Report, refusal: aiosmtplib.SMTPResponseException) -> bool:
    _log.info("report_refused", recipient=report.recipient, code=refusal.code, reply=refusal.message)
    return refusal.code >= 500


def _pause(attempts: int) -> float:
    return min(_LONGEST_PAUSE_SECONDS, 0.5 * 2.0**attempts)
