"""What this house consists of: three servers, an inbox, a name server, and the processes of the platform."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.database.bootstrap import DATABASE, url_in
from deploy.local.environment import SUPER_ADMIN_EMAIL, Addresses, process_environment
from deploy.local.ports import HOST
from deploy.local.premises import Premises
from deploy.local.supervisor.plan import Plan, Preparation
from deploy.local.supervisor.program import PythonProgram, Room, Turn
from deploy.processes import PROCESSES, package_of
from deploy.redis.users import ADMIN as REDIS_ADMIN

_PYTHON = Path(sys.executable)


def plan(premises: Premises) -> Plan:
    """Everything that runs on these premises."""
    servers = tuple(_servers(premises))
    environment = {**premises.variables, **premises.passed_on, "FLOWNURTURE_VAR": str(premises.state.root)}
    preparation = Preparation(
        "preparation",
        needs=tuple(room.name for room in servers if room.name != "redis"),
        command=(sys.executable, "-m", "deploy.local.prepare"),
        environment=environment,
    )
    addresses = premises.addresses
    return Plan(
        servers=(*servers, _mailbox(premises), _nameserver(premises)),
        preparations=(preparation,),
        processes=tuple(_process(name, premises, addresses) for name in PROCESSES),
        facts={
            "gateway_url": premises.gateway_url,
            "mail_url": premises.mail_url,
            "metrics_urls": {name: f"http://{side}/metrics" for name, side in addresses.side.items()},
            "database_url": url_in(premises.admin_url, DATABASE).reveal(),
            "nats_url": premises.bus_admin_url,
            "redis_url": addresses.redis_urls[REDIS_ADMIN],
            "feedback_smtp": addresses.feedback_smtp,
            "nameserver_url": premises.nameserver_url,
            "super_admin": {
                "email": SUPER_ADMIN_EMAIL,
                "password": premises.secrets.super_admin_password,
            },
        },
    )


def _servers(premises: Premises) -> Iterator[Room]:
    """Those that no variable replaces."""
    ports = premises.ports
    if not premises.variables.get("DATABASE_URL"):
        url = f"postgresql://{HOST}:{ports.postgres}"
        # PostgreSQL waits for its clients on SIGTERM, and sends them away on SIGINT.
        yield Room("postgres", premises.postgres, url, Turn.DATABASE, signal.SIGINT)
    if premises.has_own_bus:
        yield Room("nats", premises.nats, f"nats://{HOST}:{ports.nats}", Turn.SERVER)
    if not premises.variables.get("REDIS_URL"):
        yield Room("redis", premises.redis, f"redis://{HOST}:{ports.redis}", Turn.SERVER)


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


def _nameserver(premises: Premises) -> Room:
    environment = premises.passed_on | {
        "NAMESERVER_LISTEN": f"{HOST}:{premises.ports.nameserver}",
        "NAMESERVER_HTTP_LISTEN": f"{HOST}:{premises.ports.nameserver_http}",
    }
    ready_url = f"{premises.nameserver_url}/readyz"
    program = PythonProgram(("deploy.local.nameserver",), environment, ready_url, _PYTHON)
    return Room("nameserver", program, premises.nameserver_url, Turn.SERVER)


def _process(name: str, premises: Premises, addresses: Addresses) -> Room:
    environment = premises.passed_on_to(name) | process_environment(name, addresses, premises.secrets)
    serves = premises.gateway_url if name == "gateway" else f"http://{addresses.side[name]}"
    program = PythonProgram((package_of(name), "serve"), environment, f"{serves}/readyz", _PYTHON)
    if name == "gateway":
        return Room(name, program, premises.gateway_url, Turn.EDGE)
    return Room(name, program, f"grpc://{addresses.listen[name]}")
