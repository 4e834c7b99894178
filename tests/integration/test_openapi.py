"""The live OpenAPI holds: no input brings a service down, and no answer is one that the description does not know.

FUZZ_EXAMPLES is how many examples each operation gets besides those that cover its schemas; FUZZ_SEED is what they are made from.
"""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from deploy.demo.client import Client
from services.identity.scopes import SCOPES
from tests.integration.fuzzing import Fuzzer, fuzz
from tests.integration.house import House
from tests.integration.tenants import make_key, sign_up

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))


@pytest.fixture
async def fuzzers(house: House) -> AsyncIterator[dict[str, Fuzzer]]:
    """Callers on the largest plan, so that its rate limit is not what is tested."""
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        operator = (await Client(api).post("/v1/auth/login", house.facts["super_admin"]))["access_token"]
        tenant, other = await sign_up(api), await sign_up(api)
        for organization in (tenant, other):
            path = f"/v1/admin/organizations/{organization.organization_id}"
            await Client(api, operator).patch(path, {"plan": "enterprise"})
        key = (await make_key(other.owner, SCOPES))["secret"]
        yield {
            "anybody": Fuzzer(None, covers=False),
            "an ORG_ADMIN": Fuzzer(tenant.access_token),
            "a key": Fuzzer(key, covers=False),
            "a SUPER_ADMIN": Fuzzer(operator, paths="^/v1/(admin|auth|me)"),
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anybody", "an ORG_ADMIN", "a key", "a SUPER_ADMIN"])
async def test_every_answer_is_one_that_the_description_knows_and_none_is_a_failure_of_ours(
    house: House,
    fuzzers: dict[str, Fuzzer],
    name: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    verdict = await fuzz(house.gateway_url, fuzzers[name], examples=EXAMPLES, seed=SEED, folder=tmp_path)
    record_property("figure", f"schemathesis as {name}, seed {SEED}: {verdict.figure}")
    assert verdict.passed, verdict.report
