"""A channel whose certificate is renewed while it is in use."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio

from chassis.rpc.options import CHANNEL_OPTIONS
from chassis.rpc.tls import MutualTls

# Seconds. Far less than what is left of a certificate when it is renewed.
_LOOK_EVERY = 10.0
# What is under way on a connection ends on it: for as long as servers let it.
_GRACE = 600.0

Make: TypeAlias = Callable[[grpc.aio.Channel], Any]


class RenewedChannel(grpc.aio.Channel):
    """A channel to a process that shows a certificate with its name; made anew when the own certificate is.

    One of gRPC's keeps what it was made with for all its connections.
    """

    def __init__(self, target: str, name: str, tls: MutualTls) -> None:
        self._target = target
        self._name = name
        self._tls = tls
        self._material = tls.material()
        self._looked = monotonic()
        self._channel = self._made()
        self._leaving: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """The channel with what the files hold now."""
        if monotonic() >= self._looked + _LOOK_EVERY:
            self._looked = monotonic()
            material = self._tls.material()
            if material != self._material:
                leaving = asyncio.create_task(_let_go(self._channel))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
                self._material = material
                self._channel = self._made()
        return self._channel

    def unary_unary(self, *method: Any, **named: Any) -> Any:
        """A call of one message for one."""
        return _RenewedCallable(self, lambda channel: channel.unary_unary(*method, **named))

    def unary_stream(self, *method: Any, **named: Any) -> Any:
        """A call of many messages for one."""
        return _RenewedCallable(self, lambda channel: channel.unary_stream(*method, **named))

    def stream_unary(self, *method: Any, **named: Any) -> Any:
        """A call of one message for many."""
        return _RenewedCallable(self, lambda channel: channel.stream_unary(*method, **named))

    def stream_stream(self, *method: Any, **named: Any) -> Any:
        """A call of many messages for many."""
        return _RenewedCallable(self, lambda channel: channel.stream_stream(*method, **named))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the channel of now."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the channel of now is in another state."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the channel of now is connected."""
        await self.current().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close it, and those that are left to end their calls."""
        for leaving in self._leaving:
            leaving.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _made(self) -> grpc.aio.Channel:
        credentials = self._tls.channel_credentials(self._material)
        # A target says where to find the process, its certificate who it is.
        named = ("grpc.ssl_target_name_override", self._name)
        return grpc.aio.secure_channel(self._target, credentials, options=(*CHANNEL_OPTIONS, named))


class _RenewedCallable:
    """A method of a stub, on whichever channel it is called."""

    def __init__(self, channel: RenewedChannel, make: Make) -> None:
        self._channel = channel
        self._make = make
        self._current = channel.current()
        self._callable = self._make(self._current)

    def __call__(self, *request: Any, **call: Any) -> Any:
        current = self._channel.current()
        if current is not self._current:
            self._current, self._callable = current, self._make(current)
        return self._callable(*request, **call)


async def _let_go(channel: grpc.aio.Channel) -> None:
    try:
        await channel.close(_GRACE)
    finally:
        await channel.close(None)
