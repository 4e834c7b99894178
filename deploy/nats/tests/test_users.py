"""What each user of the event bus may do, tried against a server that has exactly these users."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerInfo, StreamInfo

from chassis.secret import Secret
from deploy.local.servers.nats import Nats
from deploy.local.servers.program import free_port, start, stop
from deploy.nats.provision import provision
from deploy.nats.topology import topology
from deploy.nats.users import ADMIN, render_users

PROCESSES = topology().processes
USERS = (ADMIN, *PROCESSES)
PASSWORDS = {user: Secret(f"the password of {user}") for user in USERS}

# Subjects that no process may say anything on, and which would let it take or destroy what is others'.
POWERS = (
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.DELETE.SENDING",
    "$JS.API.STREAM.PURGE.SENDING",
    "$JS.API.STREAM.MSG.GET.SENDING",
    "$JS.API.DIRECT.GET.SENDING",
    "$JS.API.CONSUMER.CREATE.SENDING",
    "$JS.API.CONSUMER.DURABLE.CREATE.SENDING.mine",
    "$JS.API.CONSUMER.DELETE.DELIVERY.sending",
    "$SYS.REQ.SERVER.PING",
    "elsewhere",
)
SUBJECTS = (
    *(f"flownurture.{process}.probe" for process in PROCESSES),
    *(f"flownurture.{process}.work.probe" for process in PROCESSES),
    *(f"$JS.API.CONSUMER.MSG.NEXT.{s.name}.{p}" for s in topology().streams for p in PROCESSES),
    *(f"$JS.ACK.{s.name}.{p}.1.1.1.1.1" for s in topology().streams for p in PROCESSES),
    *POWERS,
)


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the users of the platform, and its streams."""
    folder: Path = tmp_path_factory.mktemp("nats")
    server = Nats(folder, free_port(), folder / "log", render_users(PASSWORDS))
    process = start(server)
    asyncio.run(provision(server.url, PASSWORDS[ADMIN]))
    yield server.url
    stop(process)


@asynccontextmanager
async def _connected(url: str, user: str) -> AsyncIterator[Client]:
    client = await nats.connect(
        url,
        user=user,
        password=PASSWORDS[user].reveal(),
        inbox_prefix=f"_INBOX.{user}",
        allow_reconnect=False,
    )
    try:
        yield client
    finally:
        await client.close()


def _refused(url: str, user: str, commands: dict[str, str]) -> set[str]:
    """The subjects of those commands that the server refuses. It answers in order, so its PONG ends the refusals."""
    address = urlsplit(url)
    login = {"user": user, "pass": PASSWORDS[user].reveal(), "verbose": False, "pedantic": False}
    words = [f"CONNECT {json.dumps(login)}", *commands.values(), "PING"]
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as wire:
        wire.sendall("".join(f"{word}\r\n" for word in words).encode())
        said = list(
            takewhile(lambda line: line != "PONG", (line.decode().strip() for line in wire.makefile("rb")))
        )
    errors = [line for line in said if line.startswith("-ERR")]
    refused = {subject for subject in commands for line in errors if f'to "{subject}"' in line}
    assert len(errors) == len(refused), errors
    return refused


def _its_own(process: str) -> set[str]:
    reads = [stream.name for stream in topology().streams if process in stream.readers]
    return {
        f"flownurture.{process}.probe",
        f"flownurture.{process}.work.probe",
        *(f"$JS.API.CONSUMER.MSG.NEXT.{name}.{process}" for name in reads),
        *(f"$JS.ACK.{name}.{process}.1.1.1.1.1" for name in reads),
    }


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_says_what_is_its_own_and_is_refused_on_every_other_subject(bus: str, process: str) -> None:
    refused = _refused(bus, process, {subject: f"PUB {subject} 0\r\n" for subject in SUBJECTS})
    assert refused == set(SUBJECTS) - _its_own(process)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_hears_replies_to_itself_and_nothing_else(bus: str, process: str) -> None:
    others = {f"_INBOX.{other}.x.*" for other in USERS if other != process}
    forbidden = others | {">", "_INBOX.>", "$JS.>", "flownurture.>", f"flownurture.{process}.>"}
    asked = [*sorted(forbidden), f"_INBOX.{process}.x.*"]
    refused = _refused(bus, process, {subject: f"SUB {subject} {n}" for n, subject in enumerate(asked)})
    assert refused == forbidden


async def test_without_a_users_password_nobody_connects(bus: str) -> None:
    for login in ({}, {"user": "sending", "password": "guessed"}, {"user": "nobody", "password": "x"}):
        with pytest.raises(nats.errors.Error):
            await nats.connect(bus, allow_reconnect=False, max_reconnect_attempts=0, **login)


async def test_each_process_receives_from_each_stream_it_reads(bus: str) -> None:
    for stream in topology().streams:
        for reader in stream.readers:
            marker = uuid4().hex.encode()
            async with _connected(bus, stream.publisher) as publisher:
                await publisher.jetstream().publish(stream.subject.replace("*", "probe"), marker)
            async with _connected(bus, reader) as client:
                assert await _received(client, stream.name, reader, marker)


async def _received(client: Client, stream: str, durable: str, marker: bytes) -> bool:
    inbox = client.new_inbox()
    arrived = await client.subscribe(inbox)
    wanted = {"batch": 100, "expires": 5_000_000_000}
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", json.dumps(wanted).encode(), inbox)
    async with asyncio.timeout(10):
        async for message in arrived.messages:
            if message.headers and "Status" in message.headers:
                return False
            await message.ack_sync()
            if message.data == marker:
                return True
    return False


async def test_provisioning_again_changes_nothing_and_loses_no_event(bus: str) -> None:
    async with _connected(bus, ADMIN) as admin:
        await admin.jetstream().publish("flownurture.identity.probe", b"kept")
        before = await _everything(admin)
        await provision(bus, PASSWORDS[ADMIN])
        assert await _everything(admin) == before


async def _everything(admin: Client) -> list[tuple[object, ...]]:
    manager = admin.jetstream()
    streams: list[StreamInfo] = await manager.streams_info()
    found: list[tuple[object, ...]] = []
    for stream in streams:
        name = str(stream.config.name)
        consumers: list[ConsumerInfo] = await manager.consumers_info(name)
        found.append((name, stream.config, stream.state.messages, stream.state.last_seq))
        found += [(name, consumer.name, consumer.config) for consumer in consumers]
    return sorted(found, key=lambda entry: (str(entry[0]), len(entry), str(entry[1])))
