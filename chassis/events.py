"""The connection to NATS: it comes back by itself, and tells those who must begin anew when it has."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from nats.aio.client import Client
from nats.js import JetStreamContext

from chassis.logs import logger
from chassis.metrics import BUS_CONNECTED
from chassis.settings import EventsSettings


class BusClosed(Exception):
    """The connection was closed for good; only a new process can open another."""


class EventBus:
    """One connection, as the NATS user of this process. Entering waits until the server is there."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        self.client = Client()
        self._up = asyncio.Event()
        self._changed: list[Callable[[], None]] = []
        self._leaving = False

    async def __aenter__(self) -> Self:
        """Connect; retries for as long as it takes, since processes may start in any order."""
        user = self._settings.nats_user
        await self.client.connect(
            self._settings.nats_url,
            user=user,
            password=self._settings.nats_password.reveal(),
            name=user,
            # Replies come back under the user's own prefix, so that no process can listen to another's.
            inbox_prefix=f"_INBOX.{user}",
            # Who waits for the server to ask for TLS can be told by anybody between that it does not.
            tls_handshake_first=self._settings.nats_url.startswith("tls://"),
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=2,
            ping_interval=5,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_close,
        )
        self._up.set()
        BUS_CONNECTED.set(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leaving = True
        # What was to be said is said; a connection that is already broken needs no farewell.
        with suppress(OSError):
            await self.client.close()

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on this connection."""
        return self.client.jetstream()

    @property
    def connected(self) -> bool:
        """Whether the server can be reached right now."""
        return self.client.is_connected

    async def ready(self) -> bool:
        """Whether the process can publish and read, for its readiness."""
        return self.connected

    async def wait_connected(self) -> None:
        """Return when the server can be reached; raises BusClosed when it never will be again."""
        await self._up.wait()
        if self.client.is_closed:
            raise BusClosed

    def when_changed(self, act: Callable[[], None]) -> None:
        """Call `act` when the connection is a new one, or closed: what was asked on the old one is forgotten."""
        self._changed.append(act)

    async def _on_error(self, error: Exception) -> None:
        logger().warning("nats_error", error=str(error) or type(error).__name__)

    async def _on_disconnect(self) -> None:
        self._up.clear()
        BUS_CONNECTED.set(0)
        if not self._leaving:
            logger().warning("nats_disconnected")

    async def _on_reconnect(self) -> None:
        logger().info("nats_reconnected")
        BUS_CONNECTED.set(1)
        self._wake()

    async def _on_close(self) -> None:
        # Whoever waits for the connection wakes, finds it closed and ends the process.
        self._wake()

    def _wake(self) -> None:
        self._up.set()
        for act in self._changed:
            act()
