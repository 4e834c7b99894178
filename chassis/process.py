"""The life of a process: what it enters it leaves in reverse, and it never lives on with a part of it dead.

    async with Process("contacts", settings) as process:
        database = await process.enter(Database(settings.database_url, schema="contacts"))
        bus = await process.enter(EventBus(settings))
        process.start(Relay(...))
        await process.serve(RpcServer("contacts", settings.listen, process.verifier, database, process.tls).add(...))

SIGTERM and SIGINT end it in order: first the server drains, then background tasks stop, then what was entered is
left. A background task that fails ends the process in the same order, with exit code 1.
"""

import asyncio
import gc
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from chassis import logs, tracing
from chassis.health import SidePort
from chassis.loop_lag import LoopLag
from chassis.rpc.tls import MutualTls
from chassis.settings import ProcessSettings
from chassis.stamp import Stamper, StampVerifier

Entered = TypeVar("Entered")

# Python's own, of which a start has others.
_GARBAGE_THRESHOLDS = (700, 10, 10)
# Seconds that one component may take to say whether it is ready.
_READY_PATIENCE = 2.0


class BackgroundTask(Protocol):
    """Something that works until it is cancelled."""

    async def run(self) -> None:
        """Work; an error that escapes ends the process."""


class Process:
    """One process of the platform, from its start to its orderly end."""

    def __init__(self, name: str, settings: ProcessSettings) -> None:
        self.name = name
        self._settings = settings
        self._components = AsyncExitStack()
        self._side = AsyncExitStack()
        self._ready_checks: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = False
        self._serving = False

    @cached_property
    def stamper(self) -> Stamper:
        """Stamps the calls that this process makes."""
        return Stamper(self.name, self._settings.stamp_private_key)

    @cached_property
    def verifier(self) -> StampVerifier:
        """Checks the stamps of calls to this process."""
        return StampVerifier(self.name, self._settings.stamp_trusted_keys)

    @cached_property
    def tls(self) -> MutualTls | None:
        """What this process shows when it calls and is called; None where calls go in plain text."""
        return MutualTls.of(self._settings)

    async def enter(self, component: AbstractAsyncContextManager[Entered]) -> Entered:
        """Enter a component, to be left when the process ends.

        If it has `async def ready() -> bool`, the process is ready only while that answers True.
        """
        entered = await self._components.enter_async_context(component)
        if hasattr(entered, "ready"):
            self._ready_checks[type(entered).__name__] = entered.ready
        return entered

    def start(self, task: BackgroundTask) -> None:
        """Let something work in the background until the process ends."""
        started = asyncio.create_task(task.run(), name=type(task).__name__)
        started.add_done_callback(self._task_ended)
        self._tasks.append(started)

    async def serve(self, server: AbstractAsyncContextManager[object]) -> None:
        """Serve until the process is told to stop; leaving the server drains it."""
        async with server:
            await self.run_until_stopped()

    async def run_until_stopped(self) -> None:
        """Say that the process is ready, and return when it is told to stop or a background task has failed."""
        # What was made to start lives as long as the process: the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        self._serving = True
        logs.logger().info("process_ready", listen=self._settings.listen)
        await self._stopping.wait()
        self._serving = False
        logs.logger().info("process_stopping")

    async def __aenter__(self) -> Self:
        logs.configure(self.name, self._settings.log_level)
        tracing.configure(self.name, self._settings.otlp_endpoint)
        self._stopping = asyncio.Event()
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        await self._side.enter_async_context(SidePort(self._settings.metrics_listen, self._unready))
        self.start(LoopLag())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        """Leave everything in order. A stop during the start is a good end; an error is logged, then exit code 1."""
        if isinstance(error, Exception):
            logs.logger().error("process_failed", exc_info=error)
            self._failed = True
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._components.aclose()
        await self._side.aclose()
        await asyncio.to_thread(tracing.shut_down)
        if self._failed:
            raise SystemExit(1) from error
        return isinstance(error, asyncio.CancelledError) and self._stopping.is_set()

    def _stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        if not self._serving and self._main is not None:
            self._main.cancel()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logs.logger().error("task_failed", task=task.get_name(), exc_info=error)
            self._failed = True
            self._stop()

    async def _unready(self) -> list[str]:
        if not self._serving:
            return [self.name]
        unready = []
        for name, ready in self._ready_checks.items():
            try:
                async with asyncio.timeout(_READY_PATIENCE):
                    if not await ready():
                        unready.append(name)
            except Exception:
                logs.logger().warning("not_ready", component=name, exc_info=True)
                unready.append(name)
        return unready
