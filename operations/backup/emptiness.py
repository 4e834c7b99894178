"""Whether a system is empty: a backup is restored into nothing else, so that it can overwrite nothing and mix with nothing."""

import psycopg
import redis

from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from operations.backup.postgres import has_rows
from operations.servers.bus import Bus


class NotEmpty(Exception):
    """There is something where the backup is to be restored; the message says what. Nothing was changed."""


def require_empty_database(server: Secret) -> None:
    """The platform's database is not there, or has no rows. Raises NotEmpty, psycopg.Error."""
    with psycopg.connect(server.reveal()) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
    if found is None:
        return
    with psycopg.connect(url_in(server, DATABASE).reveal()) as connection:
        if has_rows(connection):
            raise NotEmpty(
                f"The database {DATABASE} has rows. A backup is restored into a server without it, or where it is as "
                "`migrate` made it."
            )


async def require_empty_bus(bus: Bus) -> None:
    """No stream holds an event: it would be of things that the backup may know nothing of. Raises NotEmpty, nats.errors.Error."""
    async with bus.connected() as client:
        for stream in await client.jetstream().streams_info():
            if stream.state.messages:
                raise NotEmpty(
                    f"The stream {stream.config.name} of the event bus holds {stream.state.messages} events. Delete the "
                    "streams of the platform that was lost: they are made anew, and filled from the database."
                )


def require_empty_redis(url: Secret) -> None:
    """It remembers nothing: what it knows of credentials may be of after the backup. Raises NotEmpty, redis.RedisError."""
    with redis.Redis.from_url(url.reveal(), socket_timeout=5, socket_connect_timeout=5) as connection:
        if kept := connection.dbsize():
            raise NotEmpty(f"Redis holds {kept} keys. Flush it: it fills itself.")
