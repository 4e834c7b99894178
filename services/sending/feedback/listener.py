"""The SMTP server (RFC 5321) that takes reports in: stored before it answers 250."""

import asyncio
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from chassis.database import Database
from chassis.errors import Unavailable
from chassis.logs import logger
from services.sending.feedback.reports import RawReport, keep

MOST_BYTES = 1_048_576
_MOST_RECIPIENTS = 16
_IDLE_SECONDS = 60


class ReportListener:
    """Listens on host:port until left; port 0 takes a free one, which `port` tells."""

    def __init__(self, listen: str, database: Database) -> None:
        host, _, port = listen.rpartition(":")
        self._host, self._port = host, int(port)
        self._database = database

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def handle_RCPT(  # noqa: N802 - the library's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take any recipient, but not many."""
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store the report, then say so; ask to try again when it cannot be stored."""
        report = RawReport(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b"")
        try:
            await keep(self._database, report)
        except Unavailable:
            logger().warning("report_put_off", exc_info=True)
            return "451 4.3.0 Try again later"
        return "250 2.0.0 Taken in"

    def _protocol(self) -> SMTP:
        options: dict[str, Any] = {
            "data_size_limit": MOST_BYTES,
            "enable_SMTPUTF8": True,
            "ident": "FlowNurture feedback",
            "timeout": _IDLE_SECONDS,
            "loop": asyncio.get_running_loop(),
        }
        return SMTP(self, **options)
