"""The process as it is deployed: its commands, its end, and what it leaves behind of the secrets it was given."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from chassis.api_key import ApiKey
from chassis.database import Database, RoleDatabase
from chassis.errors import DomainError
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from flownurture.identity.v1 import admission_pb2, api_keys_pb2, auth_pb2
from services.identity.grants import Grants
from services.identity.redis_connections import redis_at
from services.identity.settings import IdentitySettings
from services.identity.tests import mails
from services.identity.tests.conftest import ServiceEnvironment
from services.identity.tests.day import Day
from services.identity.tests.edge import Edge

ROOT = Path(__file__).parents[3]


@dataclass
class Running:
    """A process under test, and all that it has written so far."""

    process: asyncio.subprocess.Process
    edge: Edge
    environment: dict[str, str]
    written: bytearray

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
async def running(service_environment: ServiceEnvironment) -> AsyncIterator[Running]:
    listen, metrics = (f"127.0.0.1:{port}" for port in _free_ports(2))
    environment = {
        **service_environment("identity"),
        **mails.ENVIRONMENT,
        "LISTEN": listen,
        "METRICS_LISTEN": metrics,
        "SUPER_ADMIN_EMAIL": f"operator-{uuid4().hex}@platform.test",
        "SUPER_ADMIN_PASSWORD": "a lighthouse in the fog",
        "LOG_LEVEL": "DEBUG",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.identity", "serve"),
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, ready = bytearray(), asyncio.Event()

    async def read() -> None:
        assert process.stdout
        async for line in process.stdout:
            written.extend(line)
            if b"process_ready" in line:
                ready.set()
        ready.set()

    reading = asyncio.create_task(read())
    stamper = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
    async with Peer(listen, "identity", stamper) as peer:
        async with asyncio.timeout(30):
            await ready.wait()
        assert process.returncode is None, written.decode()
        yield Running(process, Edge(peer, listen), environment, written)
    if process.returncode is None:
        process.kill()
    await reading


async def test_it_serves_until_it_is_told_to_stop_and_then_ends_well(running: Running) -> None:
    person = await running.edge.sign_up()
    assert await running.edge.resolve_session(person.session_id)
    assert await running.stop() == 0, running.written.decode()


async def test_secrets_are_in_the_answer_that_gives_them_and_nowhere_else(
    running: Running, database: Database, redis: Redis, settings: IdentitySettings
) -> None:
    edge, sentinel = running.edge, f"lantern-{uuid4().hex}"
    person = await edge.sign_up(password=sentinel)
    as_admin = replace(person.context, idempotency_key=str(uuid4()))
    made = await edge.call(
        edge.api_keys.CreateApiKey,
        api_keys_pb2.CreateApiKeyRequest(name="reports", scopes=["contacts:read"]),
        as_admin,
    )
    key = ApiKey.parse(made.secret)
    credential = admission_pb2.ApiKeyCredential(api_key_id=str(key.key_id), secret_sha256=key.secret_digest)
    refreshed = await edge.refresh(person.answer.refresh_token)
    answers = [
        await edge.call(
            edge.admission.ResolveCredential, admission_pb2.ResolveCredentialRequest(api_key=credential)
        ),
        await edge.call(edge.auth.GetMe, auth_pb2.GetMeRequest(), person.context),
        await edge.call(edge.api_keys.ListApiKeys, api_keys_pb2.ListApiKeysRequest(), person.context),
        person.answer.user,
        person.answer.organization,
    ]
    refusals = []
    for attempt in (
        edge.log_in(person.email, f"{sentinel} but wrong"),
        edge.sign_up(email=person.email, password=sentinel),
        edge.refresh("fnr_" + sentinel),
        edge.call(
            edge.admission.ResolveCredential,
            admission_pb2.ResolveCredentialRequest(
                api_key=admission_pb2.ApiKeyCredential(
                    api_key_id=str(key.key_id), secret_sha256=sha256(sentinel.encode()).digest()
                )
            ),
        ),
    ):
        with pytest.raises(DomainError) as refused:
            await attempt
        refusals.append(f"{refused.value} {refused.value.violations}")

    async with database.tenant_transaction(person.context) as session:
        tables = (
            await session.execute(
                text("""
                    SELECT relname FROM pg_class WHERE relnamespace = 'identity'::regnamespace AND relkind = 'r'
                    AND has_table_privilege(oid, 'SELECT') ORDER BY relname
                """)
            )
        ).scalars()
        rows = [str(row) for table in tables for row in await session.execute(text(f"SELECT * FROM {table}"))]
    grants = [
        str(await redis.hgetall(f"grant:{credential}"))
        for credential in (f"session:{person.session_id}", f"key:{key.key_id}")
    ]
    assert await running.stop() == 0
    logged = running.written.decode()

    secrets = {
        sentinel,
        made.secret[-49:-6],
        person.answer.refresh_token.removeprefix("fnr_"),
        refreshed.refresh_token.removeprefix("fnr_"),
        person.answer.access_token.rsplit(".", 1)[1],
        running.environment["SUPER_ADMIN_PASSWORD"],
        "$argon2id$",
        *re.findall(r"://[^:/]+:([^@]+)@", " ".join(running.environment.values())),
    }
    assert len(rows) > 8
    assert "process_stopping" in logged
    for secret in secrets:
        for place, content in {
            "answers": str(answers),
            "refusals": str(refusals),
            "tables": str(rows),
            "redis": str(grants),
            "logs": logged,
        }.items():
            assert secret not in content, (place, secret)


async def test_nothing_of_what_a_day_gives_out_in_confidence_is_logged(
    running: Running, database: Database, settings: IdentitySettings
) -> None:
    told = running.environment
    operator = await running.edge.log_in(told["SUPER_ADMIN_EMAIL"], told["SUPER_ADMIN_PASSWORD"])
    async with RoleDatabase(settings.database_relay_url) as relay, redis_at(settings.redis_url) as redis:
        day = Day(running.edge, operator, database, relay, Grants(redis))
        await day.live()
    assert await running.stop() == 0
    logged = running.written.decode()
    assert "process_stopping" in logged
    assert len(day.secrets) > 40
    assert [secret for secret in day.secrets if secret in logged] == []


async def test_a_second_process_on_the_same_port_says_so_and_ends(running: Running) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.identity", "serve"),
        cwd=ROOT,
        env={
            **os.environ,
            **running.environment,
            "METRICS_LISTEN": f"127.0.0.1:{_free_ports(1)[0]}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode != 0
    assert running.environment["LISTEN"] in said.decode()


async def test_a_missing_setting_is_named(service_environment: ServiceEnvironment) -> None:
    environment = {**os.environ, **service_environment("identity")}
    del environment["JWT_PRIVATE_KEYS"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.identity", "serve"),
        cwd=ROOT,
        env={**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 2
    assert "JWT_PRIVATE_KEYS is not set" in said.decode()
