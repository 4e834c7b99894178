"""Signing keys are replaced while people work: no token that was good is refused, and nobody is logged out."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from os import urandom
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import jwt
import pytest

from chassis.database import Database
from chassis.rpc.server import RpcServer
from chassis.stamp import StampVerifier
from deploy.demo.waiting import until
from deploy.local.servers.program import free_address
from gateway.tests.house import running_gateway
from services.identity.server import servicers
from services.identity.settings import IdentitySettings
from tests.integration.tenants import authorization

Environment: TypeAlias = Callable[[str], dict[str, str]]
Keys: TypeAlias = dict[str, str]


def a_key() -> str:
    return b64encode(urandom(32)).decode()


class Rotation:
    """An identity that is deployed anew with other keys, and gateways that ask it."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._address = free_address()

    @asynccontextmanager
    async def identity(self, keys: Keys) -> AsyncIterator[None]:
        """Identity with these keys, the first of which signs."""
        told = self._environment("identity") | {"JWT_PRIVATE_KEYS": json.dumps(keys), "LISTEN": self._address}
        settings = IdentitySettings(**{name.lower(): value for name, value in told.items()})  # type: ignore[arg-type]
        async with AsyncExitStack() as deployed:
            database = await deployed.enter_async_context(Database(settings.database_url, schema="identity"))
            server = RpcServer(
                "identity", self._address, StampVerifier("identity", settings.stamp_trusted_keys), database
            )
            server.add(*await servicers(settings, database, deployed.enter_async_context))
            await deployed.enter_async_context(server)
            yield

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[httpx.AsyncClient]:
        """A gateway that has seen no key yet."""
        told = self._environment("gateway") | {"IDENTITY_TARGET": self._address, "LISTEN": free_address()}
        async with (
            running_gateway({name.lower(): value for name, value in told.items()}) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            yield client


async def signed_up(gateway: httpx.AsyncClient) -> dict[str, Any]:
    """The tokens of a new person, once identity answers."""
    person = {"email": f"{uuid4().hex}@people.test", "password": uuid4().hex, "name": "Ines"}
    return await answered(gateway, "/v1/auth/signup", person | {"organization_name": "Ferro"})


async def refreshed(gateway: httpx.AsyncClient, tokens: dict[str, Any]) -> dict[str, Any]:
    """The next tokens of the same session, once identity answers."""
    return await answered(gateway, "/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]})


async def answered(gateway: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer, after the pause in which the gateway notices that identity is back."""
    answer = await until(
        lambda: gateway.post(path, json=body), lambda answer: answer.status_code != 503, seconds=30
    )
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def signed_by(tokens: dict[str, Any]) -> str:
    return str(jwt.get_unverified_header(tokens["access_token"])["kid"])


async def passes(gateway: httpx.AsyncClient, tokens: dict[str, Any]) -> bool:
    """Whether the access token is let in."""
    answer = await gateway.get("/v1/me", headers=authorization(tokens["access_token"]))
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


async def test_keys_are_rotated_without_logging_anyone_out(
    service_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Steps of a rotation are minutes apart; here a gateway must not still be pausing from the step before.
    monkeypatch.setattr("gateway.access_tokens._UNKNOWN_KEY_PAUSE", 0.0)
    old, new = a_key(), a_key()
    rotation = Rotation(service_environment)
    async with rotation.gateway() as long_running:
        async with rotation.identity({"old": old}):
            before = await signed_up(long_running)
            assert signed_by(before) == "old"
            assert await passes(long_running, before)

        # First step: the new key is published, the old one signs on.
        async with rotation.identity({"old": old, "new": new}), rotation.gateway() as fresh:
            between = await refreshed(long_running, before)
            assert signed_by(between) == "old"
            for gateway in (long_running, fresh):
                assert await passes(gateway, before)
                assert await passes(gateway, between)

        # Second step: the new key signs, what the old one signed is still good.
        async with rotation.identity({"new": new, "old": old}), rotation.gateway() as fresh:
            after = await refreshed(long_running, between)
            assert signed_by(after) == "new"
            for gateway in (long_running, fresh):
                assert await passes(gateway, before)
                assert await passes(gateway, between)
                assert await passes(gateway, after)

        # Ten minutes later, when the last token of the old key has expired, it goes; sessions live on.
        async with rotation.identity({"new": new}), rotation.gateway() as fresh:
            last = await refreshed(long_running, after)
            for gateway in (long_running, fresh):
                assert await passes(gateway, after)
                assert await passes(gateway, last)
            assert not await passes(fresh, before)
