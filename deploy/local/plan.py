"""What this house consists of: three servers, an inbox, and the processes of the platform."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from deploy.local.environment import PROCESSES, SUPER_ADMIN_EMAIL, Addresses, process_environment
from deploy.local.opening import python_path
from deploy.local.ports import HOST, Ports, choose, require_free
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.redis import Redis
from deploy.local.state import StateFolder
from deploy.local.supervisor.plan import Plan, Preparation
from deploy.local.supervisor.program import PythonProgram, Room, Turn
from deploy.nats.users import render_users

_PYTHON = Path(sys.executable)
_SERVICE_OF = {name: f"sending.{name}" for name in ("suppression", "delivery", "feedback")}
# What a process may see of the environment of `up`: the rest of what it is told is made here.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LOG_LEVEL", "OTLP_ENDPOINT")
# glibc gives each thread that allocates an arena of its own; what is freed in it stays with the process.
_FRUGAL = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Premises:
    """Where this house stands: its folder, its ports, and the variables that replace parts of it."""

    state: StateFolder
    ports: Ports
    variables: Mapping[str, str]

    @classmethod
    def chosen(cls, state: StateFolder, variables: Mapping[str, str]) -> "Premises":
        """Choose the ports. Raises PortTaken or PortInvalid."""
        ports = choose(variables, state.ports)
        replaced = {"postgres": "DATABASE_URL", "nats": "NATS_URL", "redis": "REDIS_URL"}
        require_free(ports, unused=[name for name, variable in replaced.items() if variables.get(variable)])
        return cls(state, ports, variables)

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets of this house."""
        return Secrets.load_or_create(self.state.secrets)

    @property
    def has_own_bus(self) -> bool:
        """Whether the event bus is ours, and with it its users."""
        return not self.variables.get("NATS_URL")

    @property
    def postgres(self) -> Postgres:
        """Our own PostgreSQL."""
        password = Secret(self.secrets.database_admin)
        state = self.state
        return Postgres(state.root / "postgres", self.ports.postgres, state.log("postgres"), password)

    @property
    def nats(self) -> Nats:
        """Our own event bus."""
        users = render_users(self.secrets.bus_passwords())
        return Nats(self.state.root / "nats", self.ports.nats, self.state.log("nats"), users)

    @property
    def redis(self) -> Redis:
        """Our own Redis."""
        return Redis(self.state.root / "redis", self.ports.redis, self.state.log("redis"))

    @property
    def admin_url(self) -> Secret:
        """PostgreSQL, as its administrator."""
        given = self.variables.get("DATABASE_URL")
        return Secret(given) if given else self.postgres.admin_url

    @property
    def gateway_url(self) -> str:
        """The API."""
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def mail_url(self) -> str:
        """The inbox."""
        return f"http://{HOST}:{self.ports.mail}"

    @property
    def addresses(self) -> Addresses:
        """What processes are told about where everything is."""
        database = url_in(self.admin_url, DATABASE).reveal().rpartition("/")[0].rpartition("@")[2]
        listen = {name: f"{HOST}:{self.ports.serving(index)}" for index, name in enumerate(PROCESSES)}
        return Addresses(
            database=database.removeprefix("postgresql://"),
            nats_url=self.variables.get("NATS_URL") or self.nats.url,
            redis_url=self.variables.get("REDIS_URL") or self.redis.url,
            smtp_url=self.variables.get("SMTP_URL") or f"smtp://{HOST}:{self.ports.smtp}",
            public_url=self.gateway_url,
            feedback_smtp=f"{HOST}:{self.ports.feedback}",
            listen=listen | {"gateway": f"{HOST}:{self.ports.gateway}"},
            side={name: f"{HOST}:{self.ports.side(index)}" for index, name in enumerate(PROCESSES)},
        )

    @property
    def passed_on(self) -> dict[str, str]:
        """The part of our own environment that every program gets."""
        passed_on = {name: self.variables[name] for name in _PASSED_ON if self.variables.get(name)}
        return passed_on | _FRUGAL | {"PYTHONPATH": python_path()}


def plan(premises: Premises) -> Plan:
    """Everything that runs on these premises."""
    servers = [room() for variable, room in _servers(premises) if not premises.variables.get(variable)]
    environment = {**premises.variables, **premises.passed_on, "FLOWNURTURE_VAR": str(premises.state.root)}
    preparation = Preparation(
        "preparation",
        needs=tuple(room.name for room in servers if room.name != "redis"),
        command=(sys.executable, "-m", "deploy.local.prepare"),
        environment=environment,
    )
    addresses = premises.addresses
    return Plan(
        servers=(*servers, _mailbox(premises)),
        preparations=(preparation,),
        processes=tuple(_process(name, premises, addresses) for name in PROCESSES),
        facts={
            "gateway_url": premises.gateway_url,
            "mail_url": premises.mail_url,
            "metrics_urls": {name: f"http://{side}/metrics" for name, side in addresses.side.items()},
            "database_url": url_in(premises.admin_url, DATABASE).reveal(),
            "nats_url": addresses.nats_url,
            "redis_url": addresses.redis_url,
            "feedback_smtp": addresses.feedback_smtp,
            "super_admin": {
                "email": SUPER_ADMIN_EMAIL,
                "password": premises.secrets.super_admin_password,
            },
        },
    )


def _servers(premises: Premises) -> list[tuple[str, Callable[[], Room]]]:
    """Each server, with the variable that replaces it."""
    ports = premises.ports
    return [
        (
            "DATABASE_URL",
            # PostgreSQL waits for its clients on SIGTERM, and sends them away on SIGINT.
            lambda: Room(
                "postgres",
                premises.postgres,
                f"postgresql://{HOST}:{ports.postgres}",
                Turn.DATABASE,
                signal.SIGINT,
            ),
        ),
        ("NATS_URL", lambda: Room("nats", premises.nats, f"nats://{HOST}:{ports.nats}", Turn.SERVER)),
        ("REDIS_URL", lambda: Room("redis", premises.redis, f"redis://{HOST}:{ports.redis}", Turn.SERVER)),
    ]


def _mailbox(premises: Premises) -> Room:
    folder = premises.state.root / "mailbox"
    folder.mkdir(parents=True, exist_ok=True)
    environment = premises.passed_on | {
        "MAILBOX_SMTP_LISTEN": f"{HOST}:{premises.ports.smtp}",
        "MAILBOX_HTTP_LISTEN": f"{HOST}:{premises.ports.mail}",
        "MAILBOX_STORE": str(folder / "mail.sqlite"),
        "FEEDBACK_SMTP": premises.addresses.feedback_smtp,
    }
    ready_url = f"{premises.mail_url}/readyz"
    program = PythonProgram(("deploy.local.mailbox",), environment, ready_url, _PYTHON)
    return Room("mailbox", program, premises.mail_url, Turn.SERVER)


def _process(name: str, premises: Premises, addresses: Addresses) -> Room:
    module = "gateway" if name == "gateway" else f"services.{_SERVICE_OF.get(name, name)}"
    environment = premises.passed_on | process_environment(name, addresses, premises.secrets)
    serves = premises.gateway_url if name == "gateway" else f"http://{addresses.side[name]}"
    program = PythonProgram((module, "serve"), environment, f"{serves}/readyz", _PYTHON)
    if name == "gateway":
        return Room(name, program, premises.gateway_url, Turn.EDGE)
    return Room(name, program, f"grpc://{addresses.listen[name]}")
