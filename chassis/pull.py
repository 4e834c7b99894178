"""A standing request for a durable consumer's messages, which survives a broker that dies or forgets it.

JetStream answers one pull request with up to a batch of messages, heartbeats while there are none, and a status when it
ends the request. A broker that restarts forgets the request without a word: a reconnection or a silence makes this ask
again (nats.py issues 504, 510, 735).
"""

import asyncio
import json
from typing import Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.events import EventBus
from chassis.logs import logger

_EXPIRES_SECONDS = 60.0
_HEARTBEAT_SECONDS = 2.0
_SILENT_AFTER_SECONDS = 5.0
_PAUSE_AFTER_REFUSAL_SECONDS = 0.5
_NANOSECONDS = 1_000_000_000

_STATUS_HEADER = "Status"
_HEARTBEAT = "100"
# No messages, and the request's expiry: how a request ends in quiet times.
_PLAIN_ENDS = {"404", "408"}


class Pull:
    """Pulls from a consumer that is provisioned already; enter it, then `receive` message after message."""

    def __init__(self, bus: EventBus, stream: str, durable: str) -> None:
        self._bus = bus
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._log = logger().bind(stream=stream, durable=durable)
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._request = ""
        self._expected = 0

    async def __aenter__(self) -> Self:
        self._bus.when_changed(self._interrupt)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._unsubscribe()
        while not self._arrived.empty():
            message = self._arrived.get_nowait()
            if message is not None and _status(message) is None:
                await message.nak()

    async def receive(self, most: int) -> Msg:
        """The next message. When none is on its way, ask for up to `most`; raises BusClosed when none can come."""
        while True:
            if self._expected == 0:
                await self._ask(most)
            try:
                async with asyncio.timeout(_SILENT_AFTER_SECONDS):
                    message = await self._arrived.get()
            except TimeoutError:
                self._log.warning("pull_went_silent")
                await self._unsubscribe()
                continue
            if message is None:
                self._expected = 0
            elif (status := _status(message)) is None:
                self._expected = max(0, self._expected - 1)
                return message
            elif message.subject == self._request and status != _HEARTBEAT:
                await self._ended(status, message)

    async def _ask(self, most: int) -> None:
        await self._bus.wait_connected()
        if self._subscription is None:
            inbox = self._bus.client.new_inbox()
            self._subscription = await self._bus.client.subscribe(f"{inbox}.*", cb=self._arrived.put)
            self._request = f"{inbox}.0"
        inbox, _, number = self._request.rpartition(".")
        self._request = f"{inbox}.{int(number) + 1}"
        wanted = {
            "batch": most,
            "expires": int(_EXPIRES_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(_HEARTBEAT_SECONDS * _NANOSECONDS),
        }
        await self._bus.client.publish(self._next_subject, json.dumps(wanted).encode(), self._request)
        self._expected = most

    async def _ended(self, status: str, message: Msg) -> None:
        self._expected = 0
        if status not in _PLAIN_ENDS:
            # JetStream is still starting, or the consumer is not there: ask again, but not in a hot loop.
            self._log.warning(
                "pull_refused", status=status, description=(message.headers or {}).get("Description")
            )
            await asyncio.sleep(_PAUSE_AFTER_REFUSAL_SECONDS)

    async def _unsubscribe(self) -> None:
        self._expected = 0
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._bus.client.is_closed:
            await subscription.unsubscribe()

    def _interrupt(self) -> None:
        self._arrived.put_nowait(None)


def _status(message: Msg) -> str | None:
    return (message.headers or {}).get(_STATUS_HEADER)
