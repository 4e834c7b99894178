"""The house that whole-system tests are about, as anybody on its machine sees it."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deploy.local.probe import is_ready
from deploy.local.secrets import Secrets
from deploy.local.state import StateFolder, read_json


@dataclass(frozen=True)
class House:
    """A running house: where it is, who lives in it, and a way to kill them."""

    state: StateFolder

    @property
    def facts(self) -> dict[str, Any]:
        """What `local.json` says now."""
        facts: dict[str, Any] = json.loads(self.state.run_file.read_text())
        return facts

    @cached_property
    def gateway_url(self) -> str:
        """The API; it stays where it is."""
        return str(self.facts["gateway_url"])

    @cached_property
    def mail_url(self) -> str:
        """The inbox."""
        return str(self.facts["mail_url"])

    @cached_property
    def secrets(self) -> Secrets:
        """The keys of its processes, for tests that forge."""
        return Secrets.load_or_create(self.state.secrets)

    def services(self) -> dict[str, str]:
        """The processes that are called by gRPC: host and port by name."""
        return {
            process["name"]: process["url"].removeprefix("grpc://")
            for process in self.facts["processes"]
            if process["url"].startswith("grpc://")
        }

    def pid(self, name: str) -> int | None:
        """The pid of a process or server; None while it is dead."""
        (pid,) = (process["pid"] for process in self.facts["processes"] if process["name"] == name)
        return pid if pid is None else int(pid)

    def kill(self, name: str) -> int:
        """Kill it as the system would, with no time to say anything; answers the pid that it had."""
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Kill these, and have them stay dead meanwhile: who would start them again sleeps."""
        supervisor = int(self.state.supervisor.read_text().split()[0])
        os.kill(supervisor, signal.SIGSTOP)
        try:
            for name in names:
                self.kill(name)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def is_whole(self) -> bool:
        """Whether each process, asked now, says that it is ready, and the supervisor says so of each server."""
        rooms = (read_json(self.state.status) or {"rooms": ()})["rooms"]
        addresses = (*self.facts["metrics_urls"].values(), f"{self.mail_url}/metrics")
        return all(room["health"] == "ready" for room in rooms) and all(
            is_ready(address.removesuffix("/metrics") + "/readyz") for address in addresses
        )
