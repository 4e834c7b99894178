"""What `doctor` looks at: whether what the platform stands on is as it should be, each by itself."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import httpx
import nats.errors
import psycopg
import redis
from nats.js.errors import NotFoundError

from chassis.errors import Unavailable
from chassis.migrations.runner import head
from chassis.secret import Secret
from chassis.vault.settings import VaultSettings
from deploy.database.bootstrap import DATABASE, url_in
from deploy.database.roles import role_list
from deploy.nats.topology import topology
from operations.backup.manifest import BackupUnusable
from operations.backup.postgres import revisions
from operations.backup.sealed_data import open_data_keys
from operations.servers.bus import Bus
from services.sending.restoration import IS_HELD

_POSTGRESQL = 18
# A stamp is good for sixty seconds, and a code of a second factor for thirty.
_MOST_SECONDS_APART = 5.0
_POWERS = "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and how to mend it where that is not good."""

    what: str
    good: bool
    seen: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """Where everything is that a platform stands on, and who keeps its keys; no URL means no API to look at."""

    database: Secret
    bus: Bus
    redis: Secret
    url: str
    keepers: Mapping[str, VaultSettings]


async def examine(platform: Platform) -> AsyncIterator[Finding]:
    """Everything, one thing after another."""
    for finding in _database(platform.database):
        yield finding
    async for found in _bus(platform.bus):
        yield found
    yield _redis(platform.redis)
    yield await _keys(platform)
    if platform.url:
        yield _api(platform.url)


def _database(server: Secret) -> Iterator[Finding]:
    try:
        with psycopg.connect(url_in(server, DATABASE).reveal(), connect_timeout=5) as connection:
            yield _version(connection)
            yield _clock("clock of PostgreSQL", _scalar(connection, "SELECT clock_timestamp()"))
            yield _roles(connection)
            yield from _schemas(connection)
            yield _sending(connection)
    except psycopg.Error as error:
        yield Finding("PostgreSQL", False, str(error).strip(), "DATABASE_ADMIN_URL says where it is.")


def _version(connection: psycopg.Connection) -> Finding:
    version = connection.info.server_version // 10_000
    return Finding(
        "PostgreSQL", version >= _POSTGRESQL, f"version {version}", f"It takes {_POSTGRESQL} or newer."
    )


def _roles(connection: psycopg.Connection) -> Finding:
    wanted = [role.name for role in role_list().roles]
    found: dict[str, bool] = dict(connection.execute(_POWERS, [wanted]).fetchall())
    missing = [role for role in wanted if role not in found]
    powerful = [role for role, has_powers in found.items() if has_powers]
    seen = [f"missing: {', '.join(missing)}"] * bool(missing) + [
        f"may too much: {', '.join(powerful)}"
    ] * bool(powerful)
    return Finding(
        "roles",
        not seen,
        "; ".join(seen) or f"{len(wanted)}, none with powers",
        "`python -m deploy.database bootstrap` makes them.",
    )


def _schemas(connection: psycopg.Connection) -> Iterator[Finding]:
    found = revisions(connection)
    for schema in role_list().schemas:
        known, revision = head(f"services.{schema}"), found.get(schema, "none")
        is_newer = revision != "none" and revision > known
        remedy = "Use the version of the platform." if is_newer else "`flownurture migrate` brings it there."
        seen = f"at {revision}" if revision == known else f"at {revision}, and this program knows {known}"
        yield Finding(f"schema {schema}", revision == known, seen, remedy)


def _sending(connection: psycopg.Connection) -> Finding:
    try:
        is_held = bool(_scalar(connection, f"SELECT {IS_HELD}"))
    except psycopg.errors.UndefinedTable:
        return Finding("sending", False, "has no tables", "`flownurture migrate` makes them.")
    return Finding(
        "sending",
        not is_held,
        "held since a restore" if is_held else "not held",
        "See docs/backup.md, then `flownurture release`.",
    )


async def _bus(bus: Bus) -> AsyncIterator[Finding]:
    try:
        async with bus.connected() as client:
            yield Finding("NATS", True, f"version {client.connected_server_version}")
            missing = []
            for stream in topology().streams:
                for reader in stream.readers:
                    try:
                        await client.jetstream().consumer_info(stream.name, reader)
                    except NotFoundError:
                        missing.append(f"{stream.name} for {reader}")
            yield Finding(
                "streams and readers",
                not missing,
                f"missing: {', '.join(missing)}" if missing else f"{len(topology().streams)} streams",
                "`python -m deploy.nats provision` makes them.",
            )
    except (nats.errors.Error, OSError) as error:
        yield Finding("NATS", False, str(error) or type(error).__name__, "NATS_URL says where it is.")


def _redis(url: Secret) -> Finding:
    try:
        with redis.Redis.from_url(url.reveal(), socket_timeout=5, socket_connect_timeout=5) as connection:
            version = connection.info("server")["redis_version"]
            seconds, _ = connection.time()
    except redis.RedisError as error:
        return Finding("Redis", False, str(error), "REDIS_URL says where it is.")
    clock = _clock("Redis", datetime.fromtimestamp(seconds, UTC))
    return clock if not clock.good else Finding("Redis", True, f"version {version}")


async def _keys(platform: Platform) -> Finding:
    try:
        kept = await open_data_keys(url_in(platform.database, DATABASE), platform.keepers)
    except BackupUnusable as error:
        return Finding("keys", False, str(error), "Its processes need those that sealed.")
    except (psycopg.Error, Unavailable) as error:
        return Finding(
            "keys", False, str(error).strip(), "Who keeps them, or what they sealed, does not answer."
        )
    seen = [f"open what is sealed: {', '.join(kept.open)}"] * bool(kept.open)
    seen += [f"not tried, since none are given: {', '.join(kept.not_given)}"] * bool(kept.not_given)
    return Finding("keys", True, "; ".join(seen) or "nothing is sealed")


def _api(url: str) -> Finding:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=10)
    except httpx.HTTPError as error:
        return Finding("API", False, str(error), "FLOWNURTURE_URL says where it is.")
    return Finding("API", answer.is_success, answer.text.strip() or str(answer.status_code), "See its log.")


def _clock(what: str, theirs: datetime) -> Finding:
    apart = abs((datetime.now(UTC) - theirs).total_seconds())
    return Finding(
        what, apart <= _MOST_SECONDS_APART, f"{apart:.1f} s from ours", "Have all machines keep time by NTP."
    )


def _scalar(connection: psycopg.Connection, query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - it selects one
    return row[0]
