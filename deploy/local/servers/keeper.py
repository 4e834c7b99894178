"""Servers for a test run: `python -m deploy.local.servers.keeper <folder> <pid>`.

Starts what the run needs, prepares it like a house, writes `servers.json` into the folder, and ends everything when the
process with that pid is gone, however it went.
"""

import json
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from chassis.secret import Secret
from deploy.local.environment import Addresses
from deploy.local.preparation import prepare
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import CONNECTIONS, Postgres
from deploy.local.servers.program import HOST, Server, free_port, start, stop
from deploy.local.servers.redis import Redis
from deploy.local.servers.unprivileged import remove_outside
from deploy.nats.users import render_users
from deploy.processes import PROCESSES
from deploy.redis import users as redis_users

AServer = TypeVar("AServer", bound=Server)
Given = TypeVar("Given")

READY = "servers.json"
FAILED = "failure.txt"


def keep(folder: Path, pid: int) -> None:
    """Have servers run as long as a process lives."""
    alive = os.pidfd_open(pid)
    try:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(remove_outside, folder)
            try:
                _write(folder / READY, json.dumps(_start(folder, stack)))
            except Exception as error:
                _write(folder / FAILED, f"{type(error).__name__}: {error}")
            select.select([alive], [], [])
    finally:
        os.close(alive)


def _start(folder: Path, stack: ExitStack) -> dict[str, object]:
    if _in_containers():
        # Whoever keeps them ends them, however the run goes: no further container has to.
        os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    secrets = Secrets.generate()
    admin_url = stack.enter_context(_postgres(folder, secrets))
    nats_url, own_users = stack.enter_context(_nats(folder, secrets))
    redis_urls = stack.enter_context(_redis(folder, secrets))
    parts = urlsplit(admin_url.reveal())
    addresses = Addresses(
        database=f"{parts.hostname}:{parts.port or 5432}",
        nats_url=nats_url,
        redis_urls=redis_urls,
        # Tests that send have a receiver of their own.
        smtp_url=f"smtp://{HOST}:{free_port()}",
        public_url="http://flownurture.test",
        feedback_smtp=f"{HOST}:0",
        # And those that look names up, a name server.
        nameserver=f"{HOST}:{free_port()}",
        journals=str(folder / "journals"),
        listen=dict.fromkeys(PROCESSES, f"{HOST}:0"),
        side=dict.fromkeys(PROCESSES, f"{HOST}:0"),
    )
    prepare(admin_url, addresses, secrets, own_users=own_users)
    return {
        "admin_database_url": admin_url.reveal(),
        "nats_url": nats_url,
        "redis_url": redis_urls[redis_users.ADMIN],
        "addresses": asdict(addresses),
        "secrets": asdict(secrets),
    }


@contextmanager
def _postgres(folder: Path, secrets: Secrets) -> Iterator[Secret]:
    if given := os.environ.get("DATABASE_URL"):
        yield Secret(given)
    elif _in_containers():
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - only where there are containers

        postgres = PostgresContainer("postgres:18", password=secrets.database_admin)
        # As many as our own takes: tests start processes that have a pool each.
        with postgres.with_command(f"postgres -c max_connections={CONNECTIONS}") as container:
            yield Secret(container.get_connection_url(driver=None))
    else:
        password = Secret(secrets.database_admin)
        yield from _embedded(
            lambda port: Postgres(
                folder / "postgres", port, folder / "postgres.log", password, durable=False
            ),
            lambda server: server.admin_url,
        )


@contextmanager
def _nats(folder: Path, secrets: Secrets) -> Iterator[tuple[str, bool]]:
    """The bus, and whether its users are ours."""
    if given := os.environ.get("NATS_URL"):
        yield given, False
    elif _in_containers():
        from testcontainers.community.nats import NatsContainer  # noqa: PLC0415 - only where there are containers

        with NatsContainer("nats:2").with_command("-js") as container:
            yield container.nats_uri(), False
    else:
        users = render_users(secrets.bus_passwords())
        yield from _embedded(
            lambda port: Nats(folder / "nats", port, folder / "nats.log", users),
            lambda server: (server.url, True),
        )


@contextmanager
def _redis(folder: Path, secrets: Secrets) -> Iterator[dict[str, str]]:
    """The URL of each user; one for all of them where the users are not ours."""
    if given := os.environ.get("REDIS_URL"):
        yield dict.fromkeys(redis_users.user_names(), given)
    elif _in_containers():
        from testcontainers.community.redis import RedisContainer  # noqa: PLC0415 - only where there are containers

        with RedisContainer("redis:8") as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
            yield dict.fromkeys(redis_users.user_names(), f"redis://{host}:{port}")
    else:
        passwords = secrets.cache_passwords()
        users = redis_users.render_users(passwords)
        yield from _embedded(
            lambda port: Redis(folder / "redis", port, folder / "redis.log", users),
            lambda server: {user: server.url_for(user, password) for user, password in passwords.items()},
        )


def _embedded(make: Callable[[int], AServer], address: Callable[[AServer], Given]) -> Iterator[Given]:
    server = make(free_port())
    process = start(server)
    try:
        yield address(server)
    finally:
        stop(process)


def _in_containers() -> bool:
    return os.environ.get("TEST_SERVERS") == "containers"


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
