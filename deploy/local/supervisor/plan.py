"""What a house consists of, and in which order it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.supervisor.program import Room


class HouseCannotStand(Exception):
    """The house cannot be opened; the message says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A command that has to succeed before processes start; it runs when the servers it needs are ready."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Servers start at once, preparations follow, then the processes. `facts` go into the run file."""

    servers: tuple[Room, ...]
    preparations: tuple[Preparation, ...]
    processes: tuple[Room, ...]
    facts: Mapping[str, Any]
