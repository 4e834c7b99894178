"""Tokens that are forged, and credentials that were taken back: refused at once."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.identifiers import new_id
from tests.integration.house import House
from tests.integration.tenants import Tenant, authorization, make_key, problem, sign_up

Claims = dict[str, Any]
# Requests that a credential makes at a time while it is taken back, and how many each must see refused.
AT_ONCE = 12
REFUSALS = 5


@pytest.fixture
async def tenant(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


def signed(house: House, token: str, *, headers: Claims | None = None, **changes: Any) -> str:
    """A token like this one but for some changes, and with identity's own signature."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(house.secrets.jwt_key))
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    return jwt.encode(claims, key, "EdDSA", headers=jwt.get_unverified_header(token) | (headers or {}))


def tampered(_: House, token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sid": str(new_id())}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


def unsigned(_: House, token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token) | {"alg": "none"}
    return jwt.encode(claims, "", "none", headers=header)


def signed_by_a_stranger(_: House, token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", headers=header)


def signed_with_the_public_key(house: House, token: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(house.secrets.jwt_key))
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token) | {"alg": "HS256"}
    return jwt.encode(claims, key.public_key().public_bytes_raw(), "HS256", headers=header)


FORGERIES: dict[str, Callable[[House, str], str]] = {
    "expired": lambda house, token: signed(house, token, iat=time.time() - 700, exp=time.time() - 100),
    "living too long": lambda house, token: signed(house, token, exp=time.time() + 86_400),
    "of another issuer": lambda house, token: signed(house, token, iss="https://elsewhere.test"),
    "for another audience": lambda house, token: signed(house, token, aud="https://elsewhere.test"),
    "of a session that is not": lambda house, token: signed(house, token, sid=str(new_id())),
    "of another type": lambda house, token: signed(house, token, headers={"typ": "JWT"}),
    "of a key that is not": lambda house, token: signed(house, token, headers={"kid": "local-2"}),
    "tampered": tampered,
    "alg none": unsigned,
    "signed by a stranger": signed_by_a_stranger,
    "signed with the public key": signed_with_the_public_key,
}


async def test_a_token_with_identitys_signature_is_good(
    api: httpx.AsyncClient, house: House, tenant: Tenant
) -> None:
    answer = await api.get("/v1/me", headers=authorization(signed(house, tenant.access_token)))
    assert answer.json()["organization"]["id"] == tenant.organization_id


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused(
    api: httpx.AsyncClient, house: House, tenant: Tenant, forgery: str
) -> None:
    token = FORGERIES[forgery](house, tenant.access_token)
    problem(await api.get("/v1/me", headers=authorization(token)), 401, "unauthenticated")


async def test_a_key_with_one_character_changed_is_refused(api: httpx.AsyncClient, tenant: Tenant) -> None:
    for place in range(len(tenant.secret)):
        other = "b" if tenant.secret[place] == "a" else "a"
        changed = tenant.secret[:place] + other + tenant.secret[place + 1 :]
        problem(await api.get("/v1/lists", headers=authorization(changed)), 401, "unauthenticated")


async def refused_at_once(api: httpx.AsyncClient, credential: str, path: str, end: httpx.Request) -> None:
    """Make many requests while a credential is taken back: none that begins after the answer passes."""
    began_and_ended: list[tuple[float, int]] = []
    ended_at = float("inf")
    warm = asyncio.Event()

    async def caller() -> None:
        refused = 0
        while refused < REFUSALS:
            began = time.perf_counter()
            answer = await api.get(path, headers=authorization(credential))
            began_and_ended.append((began, answer.status_code))
            refused += began > ended_at
            if len(began_and_ended) > 2 * AT_ONCE:
                warm.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller())
        await warm.wait()
        assert (await api.send(end)).status_code == 204
        ended_at = time.perf_counter()
    assert {status for began, status in began_and_ended if began > ended_at} == {401}
    assert {status for _, status in began_and_ended} == {200, 401}


async def test_a_revoked_key_is_refused_from_the_moment_the_revocation_has_answered(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    made = await make_key(tenant.owner, ["contacts:read"])
    revocation = api.build_request(
        "DELETE", f"/v1/api-keys/{made['api_key']['id']}", headers=authorization(tenant.access_token)
    )
    await refused_at_once(api, made["secret"], "/v1/contacts", revocation)
    assert (await tenant.key.get("/v1/contacts"))["contacts"] == []


async def test_a_session_that_logged_out_is_refused_from_the_moment_that_has_answered(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    account = {"email": tenant.email, "password": tenant.password}
    session = (await api.post("/v1/auth/login", json=account)).json()
    token = session["access_token"]
    log_out = api.build_request("POST", "/v1/auth/logout", headers=authorization(token), json={})
    await refused_at_once(api, token, "/v1/me", log_out)
    again = await api.post("/v1/auth/refresh", json={"refresh_token": session["refresh_token"]})
    problem(again, 401, "unauthenticated")
    assert (await tenant.owner.get("/v1/me"))["user"]["email"] == tenant.email
