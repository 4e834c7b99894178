"""What `status` shows: whether processes are ready, and what waits for whom."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import httpx
import psycopg
from nats.js.errors import NotFoundError
from psycopg import sql

from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from deploy.database.roles import role_list
from deploy.nats.topology import topology
from operations.servers.bus import Bus

_OUTBOX = """
    SELECT domain, count(*), extract(epoch FROM now() - min(created_at))::float FROM {} WHERE published_at IS NULL
    GROUP BY domain ORDER BY domain
"""
_LETTERS = "SELECT process, count(*) FROM {} GROUP BY process ORDER BY process"


def process_names() -> Sequence[str]:
    """All processes of the platform."""
    return ("gateway", *topology().processes)


async def readiness(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """What each process says of itself on its side port."""
    async with httpx.AsyncClient(timeout=5) as http:

        async def asked(process: str, url: str) -> dict[str, Any]:
            try:
                answer = await http.get(f"{url}/readyz")
            except httpx.HTTPError as error:
                return {"process": process, "ready": False, "says": str(error) or type(error).__name__}
            return {"process": process, "ready": answer.is_success, "says": answer.text.strip()}

        return await asyncio.gather(*(asked(process, url) for process, url in urls.items()))


async def readers(bus: Bus) -> list[dict[str, Any]]:
    """How many events wait for each reader, and how many it has in hand. Raises nats.errors.Error and OSError."""
    found = []
    async with bus.connected() as client:
        for stream in topology().streams:
            for reader in stream.readers:
                try:
                    info = await client.jetstream().consumer_info(stream.name, reader)
                except NotFoundError:
                    continue
                found.append(
                    {
                        "stream": stream.name,
                        "reader": reader,
                        "waiting": info.num_pending or 0,
                        "in_hand": info.num_ack_pending or 0,
                    }
                )
    return found


def outboxes(server: Secret) -> list[dict[str, Any]]:
    """What waits to be published, and how long the oldest of it has. Raises psycopg.Error."""
    return [
        {"domain": domain, "waiting": count, "oldest_seconds": round(seconds, 1)}
        for domain, count, seconds in _of_every_schema(server, _OUTBOX, "outbox")
    ]


def dead_letters(server: Secret) -> list[dict[str, Any]]:
    """How many events each process has parked. Raises psycopg.Error."""
    return [
        {"process": process, "parked": count}
        for process, count in _of_every_schema(server, _LETTERS, "dead_letters")
    ]


def _of_every_schema(server: Secret, query: LiteralString, table: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url_in(server, DATABASE).reveal(), connect_timeout=5) as connection:
        return [
            row
            for schema in role_list().schemas
            for row in connection.execute(sql.SQL(query).format(sql.Identifier(schema, table)))
        ]
