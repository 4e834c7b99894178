"""A process of the platform as a container, for the supervisor of the local runtime."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.images.engine import Engine, on_this_machine
from deploy.local.probe import is_ready


@dataclass(frozen=True, slots=True)
class Container:
    """A process that runs from its image on the network of this machine; `written` is the one folder that it keeps things in."""

    engine: Engine
    name: str
    image: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    ready_url: str
    written: Path | None

    def prepare(self) -> None:
        """Take away what a crash left, and let whoever the process is in its container write to its folder."""
        self.engine.remove(self.name)
        if self.written:
            self.written.mkdir(parents=True, exist_ok=True)
            self.written.chmod(0o777)

    def command(self) -> list[str]:
        """Run it in the foreground: the engine hands on what it is told by signals."""
        folders = (f"--volume={self.written}:{self.written}",) if self.written else ()
        return [
            self.engine.command,
            *on_this_machine(self.environment),
            *("--rm", f"--name={self.name}", "--tmpfs=/tmp", *folders),
            self.image,
            *self.arguments,
        ]

    def popen_arguments(self) -> dict[str, Any]:
        """The engine's command has our environment, and hands on what it is told to."""
        return {"env": os.environ | dict(self.environment)}

    def answers(self) -> bool:
        """Ask the process."""
        return is_ready(self.ready_url)
