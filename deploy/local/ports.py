"""The ports of the house: each has a variable, and FLOWNURTURE_PORTS=free chooses those that no variable names."""

import random
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from deploy.local.state import read_json, write_json

HOST = "127.0.0.1"

# A process takes two: what it serves, and its side port (metrics, health).
_PORTS_OF_A_PROCESS = 2
_ROOM_FOR_PROCESSES = 10

# Below what systems hand out for outgoing connections, so that none of those sits on a port of ours.
_FREE_RANGE = range(20_000, 32_000)


class PortTaken(Exception):
    """Somebody else listens on a port of the house; the message says who, and which variable moves it."""


class PortInvalid(Exception):
    """A variable does not name a port."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    gateway: int = 8080
    mail: int = 8025
    smtp: int = 2525
    feedback: int = 2526
    nameserver: int = 5353
    nameserver_http: int = 8053
    postgres: int = 54_320
    nats: int = 42_220
    redis: int = 63_790
    processes: int = 9100

    def serving(self, index: int) -> int:
        """The port on which the process with this number answers gRPC."""
        return self.processes + _PORTS_OF_A_PROCESS * index

    def side(self, index: int) -> int:
        """The port on which the process with this number answers metrics and health."""
        return self.serving(index) + 1


VARIABLES = {
    "gateway": "GATEWAY_PORT",
    "mail": "MAIL_PORT",
    "smtp": "SMTP_PORT",
    "feedback": "FEEDBACK_PORT",
    "nameserver": "NAMESERVER_PORT",
    "nameserver_http": "NAMESERVER_HTTP_PORT",
    "postgres": "POSTGRES_PORT",
    "nats": "NATS_PORT",
    "redis": "REDIS_PORT",
    "processes": "PORT_BASE",
}

_WHAT = {
    "gateway": "the API",
    "mail": "the inbox",
    "smtp": "where mail is handed over",
    "feedback": "where reports about mail come back",
    "nameserver": "the DNS, by UDP",
    "nameserver_http": "where DNS records are published",
    "postgres": "PostgreSQL",
    "nats": "NATS",
    "redis": "Redis",
    "processes": f"the first of {_PORTS_OF_A_PROCESS * _ROOM_FOR_PROCESSES} ports, two for each process",
}


def documentation() -> Iterator[tuple[str, str]]:
    """Each variable that names a port, and for what, with its default."""
    for name, default in asdict(Ports()).items():
        yield VARIABLES[name], f"{_WHAT[name]} ({default})"


def choose(environment: Mapping[str, str], chosen_before: Path) -> Ports:
    """The ports that variables name, else those chosen before, else free or default ones. Raises PortInvalid."""
    named = {
        name: _port(variable, environment[variable])
        for name, variable in VARIABLES.items()
        if environment.get(variable)
    }
    if environment.get("FLOWNURTURE_PORTS") == "free":
        _choose_free(named, read_json(chosen_before) or {})
    ports = Ports(**named)
    write_json(chosen_before, asdict(ports))
    return ports


def _choose_free(named: dict[str, int], before: Mapping[str, int]) -> None:
    taken = set(named.values())
    for field in fields(Ports):
        if field.name in named:
            continue
        length = _length(field.name)
        port = before.get(field.name)
        if port is None or not _all_free(port, length):
            port = _free_port(length, taken)
        named[field.name] = port
        taken.update(range(port, port + length))


def require_free(ports: Ports, unused: Collection[str] = ()) -> None:
    """Raise PortTaken for the ports of the house that are not free; `unused` are names the house does not need."""
    taken = [
        f"Port {port} ({name}) is taken{_holder(port)}. Set {VARIABLES[name]} to move it."
        for name, first in asdict(ports).items()
        if name not in unused
        for port in range(first, first + _length(name))
        if not _is_free(port)
    ]
    if taken:
        raise PortTaken("\n".join([*taken, "FLOWNURTURE_PORTS=free chooses free ports for all."]))


def _port(variable: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65_536 - _PORTS_OF_A_PROCESS * _ROOM_FOR_PROCESSES:
        raise PortInvalid(f"{variable}={value} is not a port number.")
    return int(value)


def _length(name: str) -> int:
    return _PORTS_OF_A_PROCESS * _ROOM_FOR_PROCESSES if name == "processes" else 1


def _free_port(length: int, taken: Collection[int]) -> int:
    for first in _shuffled():
        if _all_free(first, length) and not any(port in taken for port in range(first, first + length)):
            return first
    raise PortTaken(f"There are no {length} free ports in a row.")


def _shuffled() -> Iterator[int]:
    yield from random.sample(_FREE_RANGE, len(_FREE_RANGE))


def _all_free(first: int, length: int) -> bool:
    return all(_is_free(port) for port in range(first, first + length))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # only some systems tell everybody
    return ""
