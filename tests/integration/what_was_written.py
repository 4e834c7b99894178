"""Everything that a house wrote, as those find it who look after it, or have broken into it."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import nats
import psycopg
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from redis.asyncio import Redis

from chassis.secret import Secret
from deploy.local.servers.postgres import Postgres
from tests.integration.house import House
from tests.integration.ledger import Written

# Where a house keeps its secrets, and what it listens to as its administrator; and what has a place of its own here.
_KEPT_SECRETS = {"secrets.json", "nats-server.conf", "local.json"}
_ELSEWHERE = {"log", "mailbox", "postgres", "nats"}
_KEYS_AT_ONCE = 1_000


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, exported: list[bytes]) -> None:
        self._exported = exported

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - OpenTelemetry's name
        """Take spans in."""
        self._exported.append(request.SerializeToString())
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def collecting_traces() -> Iterator[tuple[str, list[bytes]]]:
    """A collector of spans (OTLP over gRPC): its endpoint, and what was exported to it."""
    exported: list[bytes] = []
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(exported), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", exported
    finally:
        server.stop(None).wait()


def logs(house: House) -> list[Written]:
    """Of every process and every server."""
    return [Written(f"log of {path.stem}", path.read_bytes()) for path in sorted(house.state.logs.iterdir())]


def command_lines(house: House) -> list[Written]:
    """What anybody on the machine sees of every process and server."""
    return [
        Written(
            f"command line of {process['name']}",
            Path(f"/proc/{process['pid']}/cmdline").read_bytes().replace(b"\0", b" "),
        )
        for process in house.facts["processes"]
    ]


async def export(house: House, organization_id: str) -> list[Written]:
    """What an operator is given of an organization, to hand it over."""
    admin = house.facts["super_admin"]
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        login = (await api.post("/v1/auth/login", json=admin)).raise_for_status().json()
        given = await api.get(
            f"/v1/admin/organizations/{organization_id}/export",
            headers={"Authorization": f"Bearer {login['access_token']}"},
        )
    assert b'\n{"whole": ' in given.raise_for_status().content
    return [Written("export", given.content)]


async def metrics(house: House) -> list[Written]:
    """Of every process."""
    async with httpx.AsyncClient(timeout=30) as client:
        return [
            Written(f"metrics of {name}", (await client.get(url)).raise_for_status().content)
            for name, url in house.facts["metrics_urls"].items()
        ]


def dump(house: House) -> list[Written]:
    """Every database with all its schemas, and the roles, as `pg_dumpall` and `pg_dump` write them."""
    url = psycopg.conninfo.conninfo_to_dict(house.facts["database_url"])
    postgres = Postgres(
        house.state.root / "postgres", int(url["port"] or 0), Path(os.devnull), Secret(str(url["password"]))
    )
    environment = postgres.popen_arguments()["env"] | {"PGPASSWORD": str(url["password"])}
    where = ("--host", str(url["host"]), "--port", str(url["port"]), "--username", str(url["user"]))
    commands = {"pg_dumpall": where, "pg_dump": (*where, "--inserts", str(url["dbname"]))}
    return [
        Written(
            f"database, by {program}",
            subprocess.run(
                (postgres.programs / "bin" / program, *arguments),
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout,
        )
        for program, arguments in commands.items()
    ]


async def database_files(house: House) -> AsyncIterator[Written]:
    """The files of the cluster, with rows that are gone and the log of writes; and what it is asked just now."""
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"], autocommit=True) as session:
        await session.execute("CHECKPOINT")
        asked = await (await session.execute("SELECT query FROM pg_stat_activity")).fetchall()
        found = await (await session.execute("SHOW data_directory")).fetchone()
    yield Written("database, its queries", "\n".join(query or "" for (query,) in asked).encode())
    assert found is not None
    for path in _files(Path(found[0])):
        yield Written(f"database, file {path.name}", path.read_bytes())


@asynccontextmanager
async def listening(house: House) -> AsyncIterator[list[Written]]:
    """Every message that goes over the bus meanwhile: of an order that was carried out the bus keeps nothing."""
    heard: list[Written] = []

    async def hear(message: Msg) -> None:
        content = repr((message.subject, message.headers)).encode() + message.data
        heard.append(Written(f"bus, as it went {len(heard)}", content))

    client = await nats.connect(house.facts["nats_url"])
    try:
        await client.subscribe(">", cb=hear)
        await client.flush()
        yield heard
    finally:
        await client.close()


async def bus(house: House) -> AsyncIterator[Written]:
    """Every message of every stream, and the files in which the bus keeps them."""
    client = await nats.connect(house.facts["nats_url"])
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            name = stream.config.name
            assert name is not None
            for sequence in range(max(1, stream.state.first_seq), stream.state.last_seq + 1):
                try:
                    message = await jetstream.get_msg(name, sequence)
                except NotFoundError:
                    # An order that was carried out.
                    continue
                content = repr((message.subject, message.headers)).encode() + (message.data or b"")
                yield Written(f"bus, {name} {sequence}", content)
    finally:
        await client.close()
    for path in _files(house.state.root / "nats"):
        if path.name not in _KEPT_SECRETS:
            yield Written(f"bus, file {path.name}", path.read_bytes())


async def redis(house: House) -> list[Written]:
    """Every key with what it holds, read by its type as a dump packs texts; and what the server remembers of its clients."""
    async with Redis.from_url(house.facts["redis_url"]) as server:
        keys = [key async for key in server.scan_iter(count=_KEYS_AT_ONCE)]
        held = [key + b" " + repr(await _held(server, key)).encode() for key in keys]
        asked = ("SLOWLOG", "GET", "-1"), ("CLIENT", "LIST"), ("CONFIG", "GET", "*"), ("ACL", "LOG")
        told = [repr(await _ask(server, *command)).encode() for command in asked]
    return [Written("Redis", b"\n".join((*held, *told)))]


async def _ask(server: Redis, *command: Any) -> Any:
    return await server.execute_command(*command)  # type: ignore[no-untyped-call]


async def _held(server: Redis, key: bytes) -> Any:
    kind = await _ask(server, "TYPE", key)
    reading: dict[bytes, tuple[Any, ...]] = {
        b"string": ("GET", key),
        b"hash": ("HGETALL", key),
        b"set": ("SMEMBERS", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        b"list": ("LRANGE", key, 0, -1),
        b"stream": ("XRANGE", key, "-", "+"),
        # It was there a moment ago.
        b"none": ("EXISTS", key),
    }
    return await _ask(server, *reading[kind])


def other_files(house: House) -> list[Written]:
    """What else there is in the house's folder, but for where it keeps its secrets."""
    return [
        Written(f"file {path.relative_to(house.state.root)}", path.read_bytes())
        for entry in house.state.everything()
        if entry.name not in _ELSEWHERE
        for path in _files(entry)
        if path.name not in _KEPT_SECRETS
    ]


async def mail(house: House) -> list[Written]:
    """Every mail that was handed over, as it came."""
    async with httpx.AsyncClient(base_url=house.mail_url, timeout=30) as client:
        found = (await client.get("/api/messages", params={"limit": 1000})).raise_for_status().json()
        assert not found["next_page_token"]
        raw = (client.get(f"/api/messages/{message['id']}/raw") for message in found["messages"])
        return [
            Written(f"mail {number}", mail.content) for number, mail in enumerate(await asyncio.gather(*raw))
        ]


def _files(place: Path) -> Iterator[Path]:
    found = [place] if place.is_file() else sorted(place.rglob("*"))
    # Links lead to files that are found by themselves; sockets and pipes hold nothing.
    return (path for path in found if path.is_file() and not path.is_symlink())
