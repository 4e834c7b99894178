"""What each user of Redis may do, tried against a server that has exactly these users."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from typer.testing import CliRunner

from chassis.identifiers import new_id
from chassis.secret import Secret
from deploy.local.servers.program import free_port, start, stop
from deploy.local.servers.redis import Redis as RedisServer
from deploy.redis.__main__ import app
from deploy.redis.users import ADMIN, User, render_users, user_list, user_names
from flownurture.identity.v1 import admission_pb2
from gateway.admission import SCRIPT
from gateway.redis_script import RedisScript
from services.identity.grants import Grants
from services.identity.redis_connections import redis_at
from services.identity.throttle import Allowance, Throttle

USERS = tuple(user.name for user in user_list())
PASSWORDS = {user: Secret(f"the-password-of-{user}") for user in user_names()}
# A key of each kind that there is, and one of none.
KEYS = ("grants:memory", "grant:key:probe", "hold:probe", "attempts:probe", "rate:key:probe", "elsewhere")
# How the commands are asked that are about a key, in words that change nothing of note. A script that does nothing
# with its key shows who may name the key to one.
ABOUT_KEYS: dict[str, tuple[str, ...]] = {
    "get": (),
    "set": ("1",),
    "exists": (),
    "del": (),
    "hmget": ("grant",),
    "hlen": (),
    "hset": ("grant", "1"),
    "hgetall": (),
    "pexpire": ("60000",),
    "persist": (),
    "rename": ("elsewhere",),
    "append": ("1",),
    "dump": (),
    "object encoding": (),
}
# What takes, tells or destroys what is others', or lets in.
POWERS = (
    "acl whoami",
    "acl list",
    "client list",
    "client kill 127.0.0.1:1",
    "config get maxmemory",
    "config set maxmemory 0",
    "dbsize",
    "eval return(1) 0",
    "flushall",
    "flushdb",
    "info",
    "keys *",
    "lastsave",
    "publish everybody 1",
    "pubsub channels",
    "randomkey",
    "replicaof no one",
    "save",
    "scan 0",
    "script flush",
    "slowlog get",
    "swapdb 0 1",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with the users of the platform."""
    folder: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder, free_port(), folder / "log", render_users(PASSWORDS))
    process = start(server)
    yield server
    stop(process)


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url_for(ADMIN, PASSWORDS[ADMIN])) as admin:
        yield admin


async def _is_refused(redis: Redis, *command: str) -> bool:
    try:
        await redis.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return True
    except RedisError:
        # It may, though this makes no sense: a hash is asked for as a text.
        return False
    return False


@pytest.mark.parametrize("user", user_list(), ids=USERS)
async def test_a_user_touches_its_own_keys_by_its_own_commands_and_is_refused_all_else(
    server: RedisServer, admin: Redis, user: User
) -> None:
    script = await admin.script_load("return 1")
    asked = {
        (name, key): (*name.split(), key, *rest) for name, rest in ABOUT_KEYS.items() for key in KEYS
    } | {("evalsha", key): ("evalsha", script, "1", key) for key in KEYS}
    async with Redis.from_url(server.url_for(user.name, PASSWORDS[user.name])) as redis:
        refused = {asking for asking, command in asked.items() if await _is_refused(redis, *command)}
    assert set(asked) - refused == {
        (name, key)
        for name, key in asked
        if name in user.commands and any(key.startswith(pattern.removesuffix("*")) for pattern in user.keys)
    }


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("power", POWERS)
async def test_no_process_has_powers_over_the_server(server: RedisServer, name: str, power: str) -> None:
    async with Redis.from_url(server.url_for(name, PASSWORDS[name])) as redis:
        assert await _is_refused(redis, *power.split())


async def test_a_script_does_no_more_than_who_runs_it(server: RedisServer, admin: Redis) -> None:
    forging = await admin.script_load("return redis.call('HSET', KEYS[1], 'grant', 'all')")
    prying = await admin.script_load("return redis.call('GET', 'attempts:probe')")
    async with Redis.from_url(server.url_for("gateway", PASSWORDS["gateway"])) as redis:
        for script in (forging, prying):
            with pytest.raises(RedisError, match=r"can't run this command|can't access|[Nn]o permission"):
                await redis.evalsha(script, 1, "grant:key:probe")


async def test_without_a_users_password_nobody_is_let_in(server: RedisServer) -> None:
    nobody = f"redis://127.0.0.1:{server.port}"
    async with Redis.from_url(nobody) as redis:
        with pytest.raises(AuthenticationError):
            await redis.get("grant:key:probe")
    for user in ("default", "gateway", "somebody"):
        async with Redis.from_url(server.url_for(user, Secret("guessed"))) as redis:
            with pytest.raises(AuthenticationError):
                await redis.get("grant:key:probe")


async def test_nothing_is_refused_of_what_the_two_do(server: RedisServer, admin: Redis) -> None:
    # Neither script nor key of another test is left.
    await admin.script_flush()
    await admin.flushall()
    await admin.acl_log_reset()
    key, limit = new_id(), Allowance(f"probe:{uuid4().hex}", 3, 60)
    grant = admission_pb2.Grant(requests_per_minute=60)
    async with redis_at(Secret(server.url_for("identity", PASSWORDS["identity"]))) as redis:
        grants, throttle = Grants(redis), Throttle(redis)
        await grants.fill_api_key(key, grant, b"digest", await grants.begin_reading())
        async with throttle.attempt(limit):
            pass
        url = Secret(server.url_for("gateway", PASSWORDS["gateway"]))
        async with RedisScript(url, SCRIPT) as script:
            names = (f"grant:key:{key}", f"rate:key:{key}")
            found = await script.run(names, ("", "secret", b"digest"))
            assert found[0] == b"counted"
            await grants.hold_api_key(key)
            assert await script.run(names, ("", "secret", b"digest")) == [b"unknown"]
        await grants.hold_organization(key)
        await grants.drop(api_keys=[key])
    assert await admin.acl_log() == []


def test_the_users_are_printed_for_a_server_and_no_password_with_them() -> None:
    variables = {f"REDIS_PASSWORD_{user.upper()}": password.reveal() for user, password in PASSWORDS.items()}
    printed = CliRunner().invoke(app, ["users"], env=variables)
    assert printed.stdout == render_users(PASSWORDS)
    assert not any(password in printed.stdout for password in variables.values())


def test_a_password_that_is_missing_is_named() -> None:
    variables = {f"REDIS_PASSWORD_{user.upper()}": "" for user in USERS}
    refused = CliRunner().invoke(app, ["users"], env=variables | {"REDIS_PASSWORD_ADMIN": "known"})
    assert refused.exit_code == 2
    assert "REDIS_PASSWORD_GATEWAY is not set" in refused.stderr
    assert "REDIS_PASSWORD_ADMIN" not in refused.stderr
