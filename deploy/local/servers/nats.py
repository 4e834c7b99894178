"""NATS with JetStream from a wheel, in a folder of its own."""

import shutil
import sys
from pathlib import Path
from typing import Any

from deploy.local.servers.program import HOST, listens


class Nats:
    """One server; `configuration` is what deploy.nats renders: users and what each may do."""

    def __init__(self, folder: Path, port: int, log: Path, configuration: str) -> None:
        self.log = log
        self.port = port
        self._folder = folder
        self._configuration = configuration

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        """Write its configuration. It holds passwords, so only its owner reads it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        file = self._folder / "nats-server.conf"
        file.touch(mode=0o600)
        # Acknowledged means synced: the default acknowledges first and loses messages in a crash.
        file.write_text(
            f'listen: "{HOST}:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder / "store"}", sync_interval: always }}\n'
            f"{self._configuration}\n"
        )

    def command(self) -> list[str]:
        """Run it in the foreground."""
        program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
        return [program, "-c", str(self._folder / "nats-server.conf")]

    def popen_arguments(self) -> dict[str, Any]:
        """In its folder."""
        return {"cwd": self._folder}

    def answers(self) -> bool:
        """Whether it takes connections; it does so only once JetStream has recovered."""
        return listens(self.port)
