"""The servers of the component nats-cluster, three real ones with its configuration, but for where they are."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest

from chassis.tests.deadlines import until
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import ROOT
from deploy.local.secrets import Secrets
from deploy.local.servers.program import free_port
from deploy.nats.provision import provision
from deploy.nats.topology import topology
from deploy.nats.users import ADMIN, render_users

SERVER = str(Path(sys.executable).with_name("nats-server"))
CONFIGURATION = (ROOT / "components/nats-cluster/nats.conf").read_text()


@dataclass
class Server:
    """One of the cluster."""

    folder: Path
    name: str
    client: int
    monitor: int
    peers: int
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.client}"

    async def start(self, cluster: list["Server"]) -> None:
        replaced = {
            "0.0.0.0:4222": f"127.0.0.1:{self.client}",
            "0.0.0.0:8222": f"127.0.0.1:{self.monitor}",
            "0.0.0.0:6222": f"127.0.0.1:{self.peers}",
            "/run/nats/nats.pid": str(self.folder / "nats.pid"),
            '"/data"': f'"{self.folder / "data"}"',
            **{f"{peer.name}.nats-peers:6222": f"127.0.0.1:{peer.peers}" for peer in cluster},
        }
        told = CONFIGURATION
        for here, there in replaced.items():
            assert here in told
            told = told.replace(here, there)
        (self.folder / "nats.conf").write_text(told)
        self.process = await asyncio.create_subprocess_exec(
            *(SERVER, "--config", str(self.folder / "nats.conf")),
            env={"POD_NAME": self.name},
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def is_well(self, path: str) -> bool:
        """As a probe asks it."""
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://127.0.0.1:{self.monitor}{path}")).status_code == 200
            except httpx.TransportError:
                return False


def container() -> Any:
    found = built("overlays/production").named("StatefulSet", "nats")
    assert found is not None
    assert found.pod is not None
    (only,) = found.pod.containers
    return only


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[list[Server], Secrets]]:
    secrets = Secrets.generate()
    servers = [
        Server(tmp_path / f"nats-{number}", f"nats-{number}", free_port(), free_port(), free_port())
        for number in range(3)
    ]
    for server in servers:
        server.folder.mkdir()
        (server.folder / "users.conf").write_text(render_users(secrets.bus_passwords()))
        await server.start(servers)
    try:
        for server in servers:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                path = container()[probe]["httpGet"]["path"]
                await until(lambda: server.is_well(path))  # noqa: B023 - asked before the next one is looked at
        yield servers, secrets
    finally:
        for server in servers:
            if server.process is not None and server.process.returncode is None:
                server.process.kill()
                await server.process.wait()


async def test_every_stream_is_on_three_servers_and_outlives_the_leave_of_one(
    cluster: tuple[list[Server], Secrets],
) -> None:
    servers, secrets = cluster
    passwords = secrets.bus_passwords()
    await provision(servers[0].url, passwords[ADMIN], replicas=3)
    leaving, *staying = servers
    client = await nats.connect(staying[0].url, user=ADMIN, password=passwords[ADMIN].reveal())
    try:
        streams = await client.jetstream().streams_info()
        assert {stream.config.name: stream.config.num_replicas for stream in streams} == {
            stream.name: 3 for stream in topology().streams
        }
        # As a pod is told to end: its process goes by itself, once it has handed over what it led.
        stop = container()["lifecycle"]["preStop"]["exec"]["command"]
        told = [word.replace("/run/nats/nats.pid", str(leaving.folder / "nats.pid")) for word in stop]
        asked = await asyncio.create_subprocess_exec(SERVER, *told[1:])
        assert await asked.wait() == 0
        assert leaving.process is not None
        assert await asyncio.wait_for(leaving.process.wait(), 30) is not None
        for stream in topology().streams:
            await client.jetstream().publish(stream.subject.replace("*", "probe"), b"kept", timeout=10)
    finally:
        await client.close()
