"""Redis by TLS: the two who speak to it believe an authority of an operator's own, and nobody without one."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.secret import Secret
from chassis.tests.certificates import Authority, Files
from deploy.local.secrets import Secrets
from deploy.local.servers.program import free_port, start, stop
from deploy.local.servers.redis import Redis
from deploy.redis.users import render_users
from gateway.admission import SCRIPT
from gateway.redis_script import RedisScript
from services.identity.grants import Grants
from services.identity.redis_connections import redis_at


@asynccontextmanager
async def behind_tls(server: Redis, files: Files) -> AsyncIterator[int]:
    """A port at which the server, which was built without TLS, is spoken to in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(65_536):
            writer.write(said)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, asks), pass_on(answers, writer), return_exceptions=True)

    async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_gateway_and_identity_speak_tls_with_whom_the_named_authorities_vouch_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = Secrets.generate().cache_passwords()
    files = Authority("ours").issue(tmp_path / "files", "redis")
    server = Redis(tmp_path / "redis", free_port(), tmp_path / "log", render_users(passwords))
    process = start(server)
    try:
        async with behind_tls(server, files) as port:
            for named in (False, True):
                if named:
                    monkeypatch.setenv("SSL_CERT_FILE", str(files.authorities))
                gateway, identity = (
                    Secret(f"rediss://{user}:{passwords[user].reveal()}@127.0.0.1:{port}")
                    for user in ("gateway", "identity")
                )
                async with RedisScript(gateway, SCRIPT) as script, redis_at(identity) as redis:
                    assert script.connected is named
                    assert (await Grants(redis).begin_reading() is not None) is named
    finally:
        stop(process)
