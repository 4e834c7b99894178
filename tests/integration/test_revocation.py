"""What is taken back is refused from the moment the call that takes it back has answered, at every gateway.

Two gateways are under load all the while. Each round takes one credential back, through either gateway, while it is being
used at both; a request that began after the answer and passes is counted, and there must be none. REVOCATION_ROUNDS sets how
many rounds there are of each kind.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deploy.demo.client import Client, Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.second_processes import second_gateway
from tests.integration.team import join, switch, user_id_of
from tests.integration.tenants import Tenant, authorization, make_key, sign_up

ROUNDS = int(os.environ.get("REVOCATION_ROUNDS", "2"))
# Requests that are under way with a credential while it is taken back, and how many it must see refused afterwards.
AT_ONCE = 4
REFUSALS = 2
LOAD = 2
# While Redis is away.
FEWER_ROUNDS = 2

# Takes something back through this gateway; answers the status of the call that did.
TakeBack = Callable[[httpx.AsyncClient], Awaitable[int]]


@dataclass
class Tally:
    """What was seen: rounds in which something was taken back, and requests that passed although they must not."""

    rounds: int = 0
    refused: int = 0
    passed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """Two gateways, organizations on a large plan, one of them to keep both busy, and an operator."""

    gateways: tuple[httpx.AsyncClient, httpx.AsyncClient]
    tenant: Tenant
    bystander: Tenant
    suspendable: Tenant
    operator: Client
    operator_token: str
    turns: "itertools.cycle[int]"

    @property
    def gateway(self) -> httpx.AsyncClient:
        """One of the two, by turns."""
        return self.gateways[next(self.turns)]


@pytest.fixture(scope="module")
async def site(house: House) -> AsyncIterator[Site]:
    limits = httpx.Limits(max_connections=64)
    async with (
        second_gateway(house) as second,
        httpx.AsyncClient(base_url=house.gateway_url, timeout=30, limits=limits) as one,
        httpx.AsyncClient(base_url=second, timeout=30, limits=limits) as other,
    ):
        admin = house.facts["super_admin"]
        operator_token = (await Client(one).post("/v1/auth/login", admin))["access_token"]
        operator = Client(one, operator_token)
        tenant, bystander, suspendable = [await on_the_largest_plan(operator, one) for _ in range(3)]
        yield Site(
            (one, other), tenant, bystander, suspendable, operator, operator_token, itertools.cycle((0, 1))
        )


async def on_the_largest_plan(operator: Client, api: httpx.AsyncClient) -> Tenant:
    """An organization whose rate limit is not what this is about."""
    tenant = await sign_up(api)
    await operator.patch(f"/v1/admin/organizations/{tenant.organization_id}", {"plan": "enterprise"})
    return tenant


@asynccontextmanager
async def under_load(site: Site) -> AsyncIterator[None]:
    """Both gateways busy with other requests."""

    async def busy(api: httpx.AsyncClient) -> None:
        while True:
            await asyncio.gather(
                api.get("/v1/organization", headers=authorization(site.bystander.access_token)),
                api.get("/v1/lists", headers=authorization(site.bystander.secret)),
            )

    tasks = [asyncio.create_task(busy(api)) for api in site.gateways for _ in range(LOAD // 2)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def take_back(
    site: Site, credential: str, path: str, *, by: TakeBack, tally: Tally, refusals: tuple[int, ...] = (401,)
) -> None:
    """One round: use the credential at both gateways, take it back, and count what passes that began afterwards."""
    loop = asyncio.get_running_loop()
    gone_at: list[float] = []
    warm = await asyncio.gather(*(api.get(path, headers=authorization(credential)) for api in site.gateways))
    assert [answer.status_code for answer in warm] == [200, 200], warm[0].text

    async def use(api: httpx.AsyncClient) -> None:
        refused = 0
        while refused < REFUSALS:
            began = loop.time()
            answer = await api.get(path, headers=authorization(credential))
            if not gone_at or began < gone_at[0]:
                continue
            refused += 1
            if answer.status_code in (*refusals, 503):
                tally.refused += 1
            else:
                tally.passed.append(f"{path} answered {answer.status_code}")

    async def revoked() -> None:
        await persistently(site, by)
        gone_at.append(loop.time())

    await asyncio.gather(revoked(), *(use(api) for api in site.gateways for _ in range(AT_ONCE // 2)))
    tally.rounds += 1


async def rounds_of_keys(site: Site, count: int, tally: Tally) -> None:
    for _ in range(count):
        key = await make_key(site.tenant.owner, ["contacts:read"])
        path = f"/v1/api-keys/{key['api_key']['id']}"
        revoke = calls("DELETE", path, site.tenant.access_token)
        await take_back(site, key["secret"], "/v1/lists", by=revoke, tally=tally)


async def rounds_of_sessions(site: Site, count: int, tally: Tally) -> None:
    proof = {"email": site.tenant.email, "password": site.tenant.password}
    for number in range(count):
        begun = await Client(site.gateway).post("/v1/auth/login", proof)
        token = begun["access_token"]
        if number % 2:
            revoke = calls("POST", "/v1/auth/logout", token, {})
        else:
            sessions = (await Client(site.gateway, token).get("/v1/auth/sessions"))["sessions"]
            (current,) = [session["id"] for session in sessions if session["current"]]
            revoke = calls("DELETE", f"/v1/auth/sessions/{current}", site.tenant.access_token)
        await take_back(site, token, "/v1/organization", by=revoke, tally=tally)


async def rounds_of_removals(site: Site, count: int, tally: Tally, house: House) -> None:
    person = await sign_up(site.gateway)
    user_id = await user_id_of(person)
    for _ in range(count):
        token = await joined(site, person, house)
        revoke = calls("DELETE", f"/v1/team/members/{user_id}", site.tenant.access_token)
        await take_back(site, token, "/v1/organization", by=revoke, tally=tally)


async def rounds_of_roles(site: Site, count: int, tally: Tally, house: House) -> None:
    person = await sign_up(site.gateway)
    user_id = await user_id_of(person)
    token = await joined(site, person, house)
    path = f"/v1/team/members/{user_id}"
    for _ in range(count):
        raised = await site.gateway.patch(
            path, headers=authorization(site.tenant.access_token), json={"role": "ORG_ADMIN"}
        )
        assert raised.status_code == 200, raised.text
        lower = calls("PATCH", path, site.tenant.access_token, {"role": "MEMBER"})
        await take_back(site, token, "/v1/api-keys", by=lower, tally=tally, refusals=(403,))


async def persistently(site: Site, call: TakeBack) -> None:
    """Make a call until it does not answer that something is away."""
    status = await until(lambda: call(site.gateway), lambda status: status != 503, seconds=30, pause=0.05)
    assert 200 <= status < 300, status


async def rounds_of_suspensions(site: Site, count: int, tally: Tally) -> None:
    tenant = site.suspendable
    path = f"/v1/admin/organizations/{tenant.organization_id}"
    for number in range(count):
        suspend = calls("PATCH", path, site.operator_token, {"suspended": True})
        credential = tenant.access_token if number % 2 else tenant.secret
        await take_back(site, credential, "/v1/lists", by=suspend, tally=tally, refusals=(403,))
        await persistently(site, calls("PATCH", path, site.operator_token, {"suspended": False}))


def calls(method: str, path: str, credential: str, body: Json | None = None) -> TakeBack:
    """A call that takes something back; its status."""

    async def call(api: httpx.AsyncClient) -> int:
        content: dict[str, Any] = {} if body is None else {"json": body}
        return (await api.request(method, path, headers=authorization(credential), **content)).status_code

    return call


async def joined(site: Site, person: Tenant, house: House) -> str:
    """A token of the person in the organization, of which they become a member."""
    return await switch(person, await join(person, site.tenant, house), site.gateway)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keys", "sessions", "removed members", "role changes", "suspensions"])
async def test_no_request_that_began_after_it_was_taken_back_passes(
    site: Site, house: House, kind: str, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    async with under_load(site):
        await rounds(kind, site, house, ROUNDS, tally)
    record_property("figure", f"revocation of {kind}: {tally.rounds} rounds, {len(tally.passed)} passed")
    assert tally.rounds == ROUNDS
    assert tally.refused == ROUNDS * AT_ONCE * REFUSALS
    assert tally.passed == []


async def rounds(kind: str, site: Site, house: House, count: int, tally: Tally) -> None:
    match kind:
        case "keys":
            await rounds_of_keys(site, count, tally)
        case "sessions":
            await rounds_of_sessions(site, count, tally)
        case "removed members":
            await rounds_of_removals(site, count, tally, house)
        case "role changes":
            await rounds_of_roles(site, count, tally, house)
        case "suspensions":
            await rounds_of_suspensions(site, count, tally)


async def test_none_passes_while_redis_restarts_in_between(site: Site, house: House) -> None:
    tally = Tally()

    async def restarts() -> None:
        while True:
            await until(house_is_whole(house), bool, seconds=30)
            house.kill("redis")
            await asyncio.sleep(0.5)

    killer = asyncio.create_task(restarts())
    try:
        await asyncio.gather(
            rounds_of_keys(site, FEWER_ROUNDS * 3, tally), rounds_of_suspensions(site, FEWER_ROUNDS, tally)
        )
    finally:
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
        await until(house_is_whole(house), bool, seconds=30)
    assert tally.rounds == FEWER_ROUNDS * 4
    assert tally.passed == []


def house_is_whole(house: House) -> Callable[[], Awaitable[bool]]:
    """Asks the house without keeping everybody else waiting."""
    return lambda: asyncio.to_thread(house.is_whole)


async def test_with_redis_stopped_identity_is_asked_and_nothing_taken_back_gets_in(
    site: Site, house: House
) -> None:
    live = await make_key(site.tenant.owner, ["contacts:read"])
    revoked = await make_key(site.tenant.owner, ["contacts:read"])
    gone = calls("DELETE", f"/v1/api-keys/{revoked['api_key']['id']}", site.tenant.access_token)
    await persistently(site, gone)
    pid = house.pid("redis")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        for api in site.gateways:
            answer = await api.get("/v1/lists", headers=authorization(live["secret"]))
            assert answer.status_code in (200, 503), answer.text
            answer = await api.get("/v1/lists", headers=authorization(revoked["secret"]))
            assert answer.status_code in (401, 503), answer.text
            # What the gateways cannot be told of is not taken back, and says so.
            taken = calls("DELETE", f"/v1/api-keys/{live['api_key']['id']}", site.tenant.access_token)
            assert await taken(api) == 503
    finally:
        os.kill(pid, signal.SIGCONT)
        await until(house_is_whole(house), bool, seconds=30)
    # Nothing was taken back of which that was not said.
    use = calls("GET", "/v1/lists", live["secret"])
    await persistently(site, use)
