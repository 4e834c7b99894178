"""The event bus, as its administrator."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nats.aio.client import Client

from chassis.secret import Secret
from deploy.nats.provision import provision
from deploy.nats.users import ADMIN


@dataclass(frozen=True, slots=True)
class Bus:
    """Where it is, and the password of its administrator; without one the URL carries what is needed."""

    url: str
    password: Secret | None
    replicas: int

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """A connection. Raises nats.errors.Error and OSError."""
        client = Client()
        await client.connect(
            self.url,
            user=ADMIN if self.password else None,
            password=self.password.reveal() if self.password else None,
            allow_reconnect=False,
            # Else it would try for two minutes, and print each failure.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=_say_nothing,
            connect_timeout=5,
        )
        try:
            yield client
        finally:
            await client.close()

    async def provision(self) -> None:
        """Make streams and readers."""
        await provision(self.url, self.password, replicas=self.replicas)


async def _say_nothing(_: Exception) -> None:
    """What goes wrong is raised as well."""


def bus_at(url: str, replicas: int = 1) -> Bus:
    """The event bus, with the password of its administrator where NATS_ADMIN_PASSWORD has it."""
    password = os.environ.get("NATS_ADMIN_PASSWORD")
    return Bus(url, Secret(password) if password else None, replicas)
