"""The platform as Kubernetes runs it, on this machine: what a Deployment, a StatefulSet, a Service and a kubelet do to processes.

A pod has an address of its own, 127.0.1.x, and the same ports as every other. A headless Service is a name whose records are the pods that are
ready; who calls looks it up again by itself. Before the gateway stands a balancer that passes connections on and looks into none of
them. All servers are the platform's own, and nobody else's.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

from chassis.secret import Secret
from chassis.tests.deadlines import until
from deploy.database.bootstrap import DATABASE
from deploy.local.environment import Addresses, process_environment
from deploy.local.nameserver.server import Nameserver
from deploy.local.preparation import prepare
from deploy.local.probe import is_ready
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import ADMIN, Postgres
from deploy.local.servers.program import HOST, free_port, start, stop
from deploy.local.servers.redis import Redis
from deploy.local.state import SOURCES
from deploy.nats.users import render_users as bus_users
from deploy.processes import PROCESSES, package_of
from deploy.redis.users import render_users as cache_users
from services.sending.tests.recording_relay import Record, RecordingRelay
from tests.integration.balancer import Balancer

# Owns what it keeps on disk, so two of the same never live at once.
STATEFUL = "delivery"
# In a cluster ten seconds, twice as long as answers of its DNS live; here nobody keeps them.
PRE_STOP_SECONDS = 0.5
# As in a cluster: deploy/k8s/base/life.
GRACE_SECONDS = 660.0
_START_SECONDS = 120.0
_TAIL_BYTES = 3_000
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Ports:
    """The ports that each pod has."""

    grpc: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    smtp: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Pod:
    """A process with an address of its own."""

    name: str
    address: str
    log: Path
    process: subprocess.Popen[bytes]

    def tail(self) -> str:
        """The end of what it has logged."""
        return f"--- {self.name}\n{self.log.read_bytes()[-_TAIL_BYTES:].decode(errors='replace')}"


class Cluster:
    """A pod of each process, and what finds them. What pods are run from are folders of sources."""

    def __init__(
        self,
        folder: Path,
        addresses: Addresses,
        secrets: Secrets,
        *,
        ports: Ports,
        nameserver: Nameserver,
        balancer: Balancer,
    ) -> None:
        self.addresses = addresses
        self.record = Record(folder)
        self._ports = ports
        self._nameserver = nameserver
        self._balancer = balancer
        self._folder = folder
        self.secrets = secrets
        self._numbers = count(1)
        self._pods: dict[str, Pod] = {}
        self._all: list[Pod] = []
        self._ends: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for pod in self._all:
            pod.process.kill()
            pod.process.wait()

    @property
    def url(self) -> str:
        """The API."""
        return self.addresses.public_url

    @property
    def database_url(self) -> str:
        """The database, as its administrator."""
        password = self.secrets.database_admin
        return f"postgresql://{ADMIN}:{password}@{self.addresses.database}/{DATABASE}"

    async def start_all(self, sources: Path = SOURCES) -> None:
        """Start a pod of each process; returns when all are ready."""
        pods = await asyncio.gather(*(self._started(process, sources) for process in PROCESSES))
        for process, pod in zip(PROCESSES, pods, strict=True):
            self._pods[process] = pod
            self._publish(process, pod)

    async def roll(self, process: str, sources: Path = SOURCES) -> None:
        """Replace a pod as a roll-out does; returns when the new one is ready and the old one is told to end."""
        old = self._pods[process]
        if process == STATEFUL:
            self._publish(process)
            await self._end(old)
        self._pods[process] = new = await self._started(process, sources)
        if process != STATEFUL:
            self._publish(process, old, new)
            self._ends.append(asyncio.create_task(self._end(old)))
        self._publish(process, new)

    async def has_sent(self, number: int, seconds: float) -> None:
        """Return when the relay has taken so many messages."""
        await until(lambda: self.record.read() >= number, seconds)

    async def rolled(self) -> None:
        """Return when each pod that was replaced has ended, in order and in time."""
        await asyncio.gather(*self._ends)

    def tails(self) -> str:
        """The end of what each pod has logged."""
        return "\n".join(pod.tail() for pod in self._all)

    async def _end(self, pod: Pod) -> None:
        """As a kubelet does: the pause of preStop, SIGTERM, and no more patience than it has."""
        await asyncio.sleep(PRE_STOP_SECONDS)
        pod.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(pod.process.wait, GRACE_SECONDS)
        assert code == 0, f"ended with {code}\n{pod.tail()}"

    def _publish(self, process: str, *pods: Pod) -> None:
        addresses = [pod.address for pod in pods]
        self._nameserver.zone.publish(process, "A", addresses)
        if process == "gateway":
            self._balancer.endpoints = [(address, self._ports.http) for address in addresses]

    async def _started(self, process: str, sources: Path) -> Pod:
        number = next(self._numbers)
        name, address = f"{process}-{number}", f"127.0.1.{number}"
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(  # noqa: ASYNC220 - it forks and returns
                (sys.executable, "-m", package_of(process), "serve"),
                cwd=sources,
                env=self._environment(process, address, sources),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        pod = Pod(name, address, log, child)
        self._all.append(pod)
        side = self._ports.http if process == "gateway" else self._ports.metrics

        async def ready() -> bool:
            assert child.poll() is None, pod.tail()
            return await asyncio.to_thread(is_ready, f"http://{address}:{side}/readyz")

        await until(ready, _START_SECONDS, pause=0.05)
        return pod

    def _environment(self, process: str, address: str, sources: Path) -> Mapping[str, str]:
        served = self._ports.http if process == "gateway" else self._ports.grpc
        environment = process_environment(process, self.addresses, self.secrets)
        environment |= {
            "LISTEN": f"{address}:{served}",
            "METRICS_LISTEN": f"{address}:{self._ports.metrics}",
            "PYTHONPATH": f"{sources}{os.pathsep}{sources / 'proto' / 'gen'}",
        }
        if process == "feedback":
            environment["SMTP_LISTEN"] = f"{address}:{self._ports.smtp}"
        return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | environment


@asynccontextmanager
async def opened_cluster(folder: Path, sources: Path = SOURCES) -> AsyncIterator[Cluster]:
    """A cluster of which every process is ready, in a `site_folder`, migrated by the sources of today."""
    secrets, ports = Secrets.generate(), Ports()
    async with Nameserver(HOST, 0) as nameserver, Balancer() as balancer:
        with _servers(folder, secrets) as (postgres, bus, cache, relay):
            names = {process: f"dns://{nameserver.address}/{process}:{ports.grpc}" for process in PROCESSES}
            passwords = secrets.cache_passwords()
            addresses = Addresses(
                database=f"{HOST}:{postgres.port}",
                nats_url=bus.url,
                redis_urls={user: cache.url_for(user, password) for user, password in passwords.items()},
                smtp_url=f"smtp://{HOST}:{relay.port}",
                public_url=f"http://{HOST}:{balancer.port}",
                feedback_smtp=f"{HOST}:0",
                nameserver=nameserver.address,
                journals=str(folder / "journals"),
                listen=names,
                side=names,
            )
            await asyncio.to_thread(prepare, postgres.admin_url, addresses, secrets, own_users=True)
            async with Cluster(
                folder, addresses, secrets, ports=ports, nameserver=nameserver, balancer=balancer
            ) as cluster:
                try:
                    await cluster.start_all(sources)
                    yield cluster
                except BaseException as failure:
                    failure.add_note(cluster.tails())
                    raise


@contextmanager
def _servers(folder: Path, secrets: Secrets) -> Iterator[tuple[Postgres, Nats, Redis, RecordingRelay]]:
    """Those that are no pods here, running."""
    password = Secret(secrets.database_admin)
    servers = (
        Postgres(folder / "postgres", free_port(), folder / "postgres.log", password, durable=False),
        Nats(folder / "nats", free_port(), folder / "nats.log", bus_users(secrets.bus_passwords())),
        Redis(folder / "redis", free_port(), folder / "redis.log", cache_users(secrets.cache_passwords())),
        RecordingRelay(free_port(), folder),
    )
    with ExitStack() as stack:
        for server in servers:
            stack.callback(stop, start(server))
        yield servers
