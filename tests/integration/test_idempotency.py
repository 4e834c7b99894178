"""A request that is repeated under its Idempotency-Key is done once."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from tests.integration.tenants import Tenant, authorization, problem, sign_up


@pytest.fixture
async def tenant(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


async def create(api: httpx.AsyncClient, tenant: Tenant, key: str, email: str) -> httpx.Response:
    headers = authorization(tenant.secret) | {"Idempotency-Key": key}
    return await api.post("/v1/contacts", headers=headers, json={"email": email})


async def test_a_replayed_key_gets_the_same_answer_and_makes_nothing_more(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    key = uuid4().hex
    first, second = [await create(api, tenant, key, "ada@example.test") for _ in range(2)]
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert len((await tenant.key.get("/v1/contacts"))["contacts"]) == 1


async def test_a_key_that_was_used_for_another_body_is_refused(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    key = uuid4().hex
    await create(api, tenant, key, "ada@example.test")
    problem(await create(api, tenant, key, "grace@example.test"), 422, "idempotency-mismatch")
    assert len((await tenant.key.get("/v1/contacts"))["contacts"]) == 1


async def test_of_many_at_once_under_one_key_one_is_done(api: httpx.AsyncClient, tenant: Tenant) -> None:
    key = uuid4().hex
    answers = await asyncio.gather(*(create(api, tenant, key, "ada@example.test") for _ in range(20)))
    done = [answer.json() for answer in answers if answer.status_code == 201]
    assert done == [done[0]] * len(done)
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, 409, "idempotency-in-flight")
    assert len((await tenant.key.get("/v1/contacts"))["contacts"]) == 1


async def test_a_key_is_of_its_organization_alone(api: httpx.AsyncClient, tenant: Tenant) -> None:
    key, stranger = uuid4().hex, await sign_up(api)
    first = await create(api, tenant, key, "ada@example.test")
    second = await create(api, stranger, key, "grace@example.test")
    assert first.status_code == second.status_code == 201
    assert second.json()["email"] == "grace@example.test"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b", "a\tb"])
async def test_a_key_that_is_none_is_refused(api: httpx.AsyncClient, tenant: Tenant, key: str) -> None:
    try:
        answer = await create(api, tenant, key, "ada@example.test")
    except httpx.LocalProtocolError:
        return  # no client sends that
    problem(answer, 422, "invalid-request")
