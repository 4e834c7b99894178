"""The event bus, as its administrator."""

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
            connect_timeout=5,
        )
        try:
            yield client
        finally:
            await client.close()

    async def provision(self) -> None:
        """Make streams and readers."""
        await provision(self.url, self.password, replicas=self.replicas)
