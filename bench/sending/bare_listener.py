"""aiosmtpd alone: takes mail in as the feedback process does, and does nothing with it.

`python -m bench.sending.bare_listener PORT` runs until it is ended.
"""

import asyncio
import sys

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session


class Taker:
    """Says yes to everything."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Forget it."""
        return "250 2.0.0 Taken"


async def take(port: int) -> None:
    """Take mail until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(Taker(), enable_SMTPUTF8=True, ident="bare"), "127.0.0.1", port)
    await loop.create_future()


if __name__ == "__main__":
    uvloop.run(take(int(sys.argv[1])))
