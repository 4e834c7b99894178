"""The SMTP listener (RFC 5321) that receiving servers send bounces and complaints to, and people their wish to opt out."""

import asyncio
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from chassis.errors import Unavailable
from chassis.identifiers import new_id
from chassis.logs import logger
from services.sending.feedback.intake import Intake
from services.sending.feedback.opt_outs import OptOuts
from services.sending.feedback.reports import Report

_MOST_BYTES = 10 * 1024 * 1024
_MOST_RECIPIENTS = 100


class _Session(SMTP):
    # Twice RFC 5321's thousand is seen in mail that a report encloses; to refuse the report for it would lose it.
    line_length_limit = 64 * 1024


class FeedbackListener:
    """Listens on host:port from entering to leaving. What comes in has an effect by the tokens in it alone."""

    port: int

    def __init__(self, intake: Intake, opt_outs: OptOuts, listen: str) -> None:
        self._intake = intake
        self._opt_outs = opt_outs
        self._host, _, port = listen.rpartition(":")
        self._wanted_port = int(port)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self._host, self._wanted_port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take any recipient, up to a bound."""
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Opt out whoever wishes it and keep the report, then say so; its sender keeps it until then."""
        content = envelope.content or b""
        try:
            await self._opt_outs.honour(envelope.rcpt_tos)
            await self._intake.take(
                Report(
                    new_id(),
                    [_storable(address) for address in envelope.rcpt_tos],
                    content if isinstance(content, bytes) else content.encode(),
                    # Reports come with the null return path (RFC 5321 §4.5.5).
                    mail_from=_storable((envelope.mail_from or "").removeprefix("<>")),
                )
            )
        except Unavailable:
            logger().warning("report_not_kept", exc_info=True)
            return "451 4.3.0 Try again later"
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        """Let the sender of what could not be taken keep it, and tell it nothing of why."""
        logger().error("report_not_taken", exc_info=error)
        return "451 4.3.0 Try again later"

    def _session(self) -> SMTP:
        return _Session(
            self, data_size_limit=_MOST_BYTES, enable_SMTPUTF8=True, ident="FlowNurture", timeout=60
        )


def _storable(address: str) -> str:
    # What PostgreSQL's text cannot hold: foreign bytes read as surrogates, and zeros.
    return address.encode(errors="replace").decode().replace("\x00", "")
