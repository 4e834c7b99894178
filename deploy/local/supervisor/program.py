"""What the supervisor can keep running."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from deploy.local.probe import is_ready
from deploy.local.state import SOURCES


class Turn(IntEnum):
    """In which order programs leave: who takes requests first, who keeps data last."""

    EDGE = 0
    PROCESS = 1
    SERVER = 2
    DATABASE = 3


class Program(Protocol):
    """How something is started, and seen to be ready."""

    def prepare(self) -> None:
        """Make what it needs before each start; also mends what a crash left."""

    def command(self) -> list[str]:
        """What to execute."""

    def popen_arguments(self) -> Mapping[str, Any]:
        """How: environment, folder, user."""

    def answers(self) -> bool:
        """Whether it does its work now."""


@dataclass(frozen=True, slots=True)
class Room:
    """A program and its place in the house; `url` is where people or other programs reach it."""

    name: str
    program: Program
    url: str
    turn: Turn = Turn.PROCESS
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """A process of the platform: a module of this repository that says at an URL whether it is ready."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    ready_url: str
    python: Path

    def prepare(self) -> None:
        """It needs nothing."""

    def command(self) -> list[str]:
        """Run the module."""
        return [str(self.python), "-m", *self.arguments]

    def popen_arguments(self) -> dict[str, Any]:
        """Run it in the sources, with its own variables only."""
        return {"env": dict(self.environment), "cwd": SOURCES}

    def answers(self) -> bool:
        """Ask it."""
        return is_ready(self.ready_url)
