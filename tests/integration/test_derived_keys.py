"""Derived keys as a client has them: made by the documentation's own code, used at the gateway, gone with their key."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis import derived_key
from chassis.api_key import ApiKey
from chassis.identifiers import new_id
from tests.integration.tenants import Tenant, authorization, make_key, problem, sign_up

DOCUMENT = Path(__file__).parents[2] / "docs" / "derived-keys.md"
RACERS = 8


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What the code block of the documentation defines, with nothing else in reach."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    return names


@pytest.fixture
async def tenant(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


async def test_the_code_in_the_documentation_makes_keys_that_the_platform_takes(
    api: httpx.AsyncClient, tenant: Tenant, documented: dict[str, Any]
) -> None:
    derived = documented["for_a_quarter_of_an_hour"](tenant.secret)
    assert (await api.get("/v1/contacts", headers=authorization(derived))).status_code == 200
    for method, path in (("POST", "/v1/contacts"), ("GET", "/v1/campaigns"), ("GET", "/v1/api-keys")):
        answer = await api.request(method, path, headers=authorization(derived))
        problem(answer, 403, "insufficient-scope")
    narrower = documented["derive"](derived, "expires 1")
    problem(await api.get("/v1/contacts", headers=authorization(narrower)), 401, "unauthenticated")
    wider = documented["derive"](derived, "scopes contacts:read,campaigns:read", "expires 99999999999")
    assert (await api.get("/v1/contacts", headers=authorization(wider))).status_code == 200
    problem(await api.get("/v1/campaigns", headers=authorization(wider)), 403, "insufficient-scope")


def test_the_documentation_and_the_platform_write_the_same_keys(documented: dict[str, Any]) -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    key = ApiKey.mint(new_id())
    ours = derived_key.derive(key, scopes=["contacts:read", "campaigns:read"], expires_at=noon)
    theirs = documented["derive"](
        key, "scopes campaigns:read,contacts:read", f"expires {noon.timestamp():.0f}"
    )
    assert theirs == ours
    assert documented["derive"](ours, "scopes contacts:read") == derived_key.derive(
        ours, scopes=["contacts:read"]
    )


async def test_no_derived_key_passes_once_the_revocation_of_its_key_has_answered(
    api: httpx.AsyncClient, tenant: Tenant, documented: dict[str, Any]
) -> None:
    made = await make_key(tenant.owner, ["contacts:read"])
    child = documented["for_a_quarter_of_an_hour"](made["secret"])
    texts = [documented["derive"](child, f"expires {99999999999 - number}") for number in range(RACERS)]
    revoked = asyncio.Event()
    warm = asyncio.Semaphore(0)

    async def knock(text: str) -> set[int]:
        """Ask until the key is revoked, and five times more; answers what those got."""
        late: list[int] = []
        while len(late) < 5:
            began_late = revoked.is_set()
            answer = await api.get("/v1/contacts", headers=authorization(text))
            # A fast machine uses up the rate of the key before it is revoked.
            assert began_late or answer.status_code in (200, 401, 429)
            warm.release()
            late += [answer.status_code] * began_late
        return set(late)

    async with asyncio.timeout(30):
        callers = [asyncio.create_task(knock(text)) for text in texts]
        for _ in range(3 * RACERS):
            await warm.acquire()
        await tenant.owner.delete(f"/v1/api-keys/{made['api_key']['id']}")
        revoked.set()
        assert await asyncio.gather(*callers) == [{401}] * RACERS
