"""Where the local runtime keeps its state: one folder, `var` beside the sources or FLOWNURTURE_VAR."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder and the places in it."""

    root: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "StateFolder":
        """The folder that an environment names; relative names start at the current folder."""
        return cls(Path(environment.get("FLOWNURTURE_VAR") or SOURCES / "var").absolute())

    @property
    def run(self) -> Path:
        """What is true of the house that runs now."""
        return self.root / "run"

    @property
    def lock(self) -> Path:
        """Held by the living supervisor; the system frees it when that dies, however it dies."""
        return self.run / "supervisor.lock"

    @property
    def supervisor(self) -> Path:
        """The supervisor's pid."""
        return self.run / "supervisor.pid"

    @property
    def census(self) -> Path:
        """What the supervisor started, for the next one to clear away should it be killed."""
        return self.run / "census.json"

    @property
    def status(self) -> Path:
        """How each part of the house is, as the supervisor sees it."""
        return self.run / "status.json"

    @property
    def run_file(self) -> Path:
        """The addresses of the house, for programs that use it."""
        return self.run / "local.json"

    @property
    def ports(self) -> Path:
        """The ports that were chosen."""
        return self.run / "ports.json"

    @property
    def secrets(self) -> Path:
        """Keys and passwords of this house; they live as long as its data."""
        return self.root / "secrets.json"

    @property
    def logs(self) -> Path:
        """A log for each part of the house."""
        return self.root / "log"

    def everything(self) -> list[Path]:
        """All that is in the folder."""
        return list(self.root.iterdir()) if self.root.exists() else []

    def log(self, name: str) -> Path:
        """The log of one part."""
        return self.logs / f"{name}.log"


def write_json(path: Path, value: object) -> None:
    """Write a file that readers see whole, old or new, and that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    unfinished.replace(path)


def read_json(path: Path) -> Any:
    """What a file says; None when there is no file, or when it says nothing that can be understood."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
