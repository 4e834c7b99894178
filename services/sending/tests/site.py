"""The sending path with servers of its own, all of which may die: processes, database server, broker, relay."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

import nats

from chassis.database import RoleDatabase
from chassis.migrations.runner import migrate
from chassis.relay import replay
from chassis.secret import Secret
from deploy.database.bootstrap import bootstrap
from deploy.local.environment import Addresses, owner_url, process_environment
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.program import HOST, Server, free_address, free_port
from deploy.local.servers.unprivileged import remove_outside
from deploy.nats.provision import provision
from deploy.nats.users import ADMIN, render_users
from services.sending.tests.processes import House, service_process
from services.sending.tests.recording_relay import Record, RecordingRelay

_SERVERS = ("postgresql", "nats", "relay")
# Of each its process, by the names that they have here.
_SENDING_PATH = {
    "sending": "sending",
    "suppression": "suppression",
    "delivery-1": "delivery",
    "delivery-2": "delivery",
}

# What befalls the site, for the first time (0), the second time and so on.
Blow = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Site:
    """The programs, and where everything is. Of what is numbered there are several, which share the work."""

    house: House
    record: Record
    addresses: Addresses
    environments: Mapping[str, Mapping[str, str]]
    bus_password: Secret

    def kill(self, part: str) -> Blow:
        """Kill a part, by turns where it is several, each to be started anew at once."""
        victims = [name for name in (*_SERVERS, *self.environments) if name.partition("-")[0] == part]

        async def blow(number: int) -> None:
            victim = victims[number % len(victims)]
            await self.house.kill(victim)
            await self.house.start(victim)

        return blow

    def lose_streams(self) -> Blow:
        """Delete every stream; then do as an operator does."""
        begun_at = datetime.now(UTC)

        async def blow(_: int) -> None:
            client = await nats.connect(
                self.addresses.nats_url, user=ADMIN, password=self.bus_password.reveal()
            )
            for stream in await client.jetstream().streams_info():
                await client.jetstream().delete_stream(stream.config.name or "")
            await client.close()
            await provision(self.addresses.nats_url, self.bus_password)
            async with RoleDatabase(Secret(self.environments["sending"]["DATABASE_RELAY_URL"])) as database:
                await replay(database, begun_at)

        return blow


@contextmanager
def site_folder(prefix: str) -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter."""
    folder = Path(mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    yield folder
    remove_outside(folder)
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_site(
    folder: Path,
    secrets: Secrets,
    elsewhere: Addresses,
    others: Mapping[str, str],
    processes: Mapping[str, str] = _SENDING_PATH,
) -> AsyncIterator[Site]:
    """Everything ready in a `site_folder`; `others` is where its processes find those of other services."""
    password = Secret(secrets.database_admin)
    postgres = Postgres(folder / "postgres", free_port(), folder / "postgres.log", password)
    bus = Nats(folder / "nats", free_port(), folder / "nats.log", render_users(secrets.bus_passwords()))
    relay = RecordingRelay(free_port(), folder)
    addresses = replace(
        elsewhere,
        database=f"{HOST}:{postgres.port}",
        nats_url=bus.url,
        smtp_url=f"smtp://{HOST}:{relay.port}",
        journals=str(folder / "journals"),
        listen={**elsewhere.listen, **others, "sending": free_address(), "suppression": free_address()},
    )
    environments = {
        name: {
            **os.environ,
            **process_environment(process, addresses, secrets),
            "LISTEN": addresses.listen[process] if name == process else free_address(),
            "METRICS_LISTEN": free_address(),
        }
        for name, process in processes.items()
    }
    programs = {
        name: service_process(process, environments[name], folder / f"{name}.log")
        for name, process in processes.items()
    }
    servers: dict[str, Server] = dict(zip(_SERVERS, (postgres, bus, relay), strict=True))
    async with House(servers | programs) as house:
        await house.start(*servers)
        await asyncio.to_thread(bootstrap, postgres.admin_url, secrets.role_passwords())
        await asyncio.to_thread(migrate, Secret(owner_url("sending", addresses, secrets)), "services.sending")
        bus_password = secrets.bus_passwords()[ADMIN]
        await provision(bus.url, bus_password)
        await house.start(*programs)
        yield Site(house, Record(folder), addresses, environments, bus_password)
