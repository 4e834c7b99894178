"""The live OpenAPI holds: no input brings a service down, and no answer is one that the description does not know.

FUZZ_EXAMPLES is how many examples each operation gets, besides those that cover its schemas, which the suite leaves to `make fuzz`: they
are some twenty thousand, as it does keys, which get no further than admins. FUZZ_SEED is what they are made from.
"""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from deploy.demo.client import Client, Json
from services.identity.scopes import SCOPES
from services.integrations.ai.tests.model_server import Asks, ModelServer, Says, Turn, a_mail, serving
from tests.integration.fuzzing import AI, Fuzzer, fuzz
from tests.integration.house import House
from tests.integration.second_processes import second_gateway, second_integrations
from tests.integration.tenants import make_key, sign_up

AT_LENGTH = "FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))


@pytest.fixture(scope="module")
async def fuzzers(house: House) -> AsyncIterator[dict[str, Fuzzer]]:
    """Callers on the largest plan, so that its rate limit is not what is tested; each of a test of its own.

    They come before anything is tried: after all that, whoever came next would be told to wait, for up to a minute.
    """
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        operator = (await Client(api).post("/v1/auth/login", house.facts["super_admin"]))["access_token"]
        tenant, other, asking = [await sign_up(api) for _ in range(3)]
        for organization in (tenant, other, asking):
            path = f"/v1/admin/organizations/{organization.organization_id}"
            await Client(api, operator).patch(path, {"plan": "enterprise"})
        key = (await make_key(other.owner, SCOPES))["secret"]
        yield {
            "anybody": Fuzzer(None, covers=False),
            "an ORG_ADMIN": Fuzzer(tenant.access_token, covers=AT_LENGTH),
            "who asks a model": Fuzzer(asking.access_token, paths=AI, has_model=True),
            "a key": Fuzzer(key, covers=False),
            "a SUPER_ADMIN": Fuzzer(operator, paths="^/v1/(admin|auth|me)"),
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["anybody", "an ORG_ADMIN", *(["a key"] if AT_LENGTH else []), "a SUPER_ADMIN"]
)
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


@pytest.fixture
async def with_a_model(house: House) -> AsyncIterator[tuple[str, ModelServer]]:
    """A gateway of which the operator has a language model, which looks at something before it answers."""

    def mind(request: Json) -> Turn:
        if "response_format" in request:
            return Says(a_mail())
        return Says("Well.") if request["messages"][-1]["role"] == "tool" else Asks(("list_contacts", {}))

    async with (
        serving() as model,
        second_integrations(house, AI_BASE_URL=model.url, AI_MODEL="scripted") as integrations,
        second_gateway(house, INTEGRATIONS_TARGET=integrations) as url,
    ):
        model.mind = mind
        yield url, model


@pytest.mark.slow
async def test_so_does_every_answer_that_takes_a_language_model(
    fuzzers: dict[str, Fuzzer],
    with_a_model: tuple[str, ModelServer],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    url, model = with_a_model
    verdict = await fuzz(url, fuzzers["who asks a model"], examples=EXAMPLES, seed=SEED, folder=tmp_path)
    record_property("figure", f"schemathesis with a language model, seed {SEED}: {verdict.figure}")
    assert verdict.passed, verdict.report
    assert {"response_format" in asked for asked in model.asked} == {True, False}
