"""AI Writing through the gateway: a model's API on a socket, the real template engine, the real plan."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from services.integrations.ai.tests.model_server import ModelServer, Says, a_mail, serving
from tests.integration.house import House
from tests.integration.second_processes import second_gateway, second_integrations
from tests.integration.tenants import authorization, make_key, problem, sign_up, subscribe

BRIEF = {"goal": "Tell of spring"}


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[ModelServer]:
    async with serving() as model:
        yield model


@pytest.fixture(scope="module")
async def api(house: House, model: ModelServer) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway before a process whose operator has that model."""
    async with (
        second_integrations(house, AI_BASE_URL=model.url, AI_MODEL="scripted") as integrations,
        second_gateway(house, INTEGRATIONS_TARGET=integrations) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as api,
    ):
        yield api


async def test_a_mail_is_written_that_a_campaign_can_be_launched_with(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    tenant = await sign_up(api)
    await subscribe(api, tenant, "pro")
    wrong = "<p>Dear {{ contact.nickname }}</p>"
    good = (
        "<p>Dear {{ contact.first_name | default: 'you' }}, see <a href=\"https://example.com/\">this</a></p>"
    )
    model.does(Says(a_mail(wrong), tokens=1_000), Says(a_mail(good), tokens=500))
    answer = await api.post("/v1/ai/write", headers=authorization(tenant.secret), json=BRIEF)
    mail = answer.json()
    assert answer.status_code == 200
    assert (mail["html"], mail["tokens"]) == (good, 1_500)
    assert mail["text"] == "Dear {{ contact.first_name | default: 'you' }}, see this (https://example.com/)"
    assert "contact.nickname" in model.asked[-1]["messages"][-1]["content"]
    list_id = (await tenant.key.post("/v1/lists", {"name": "All"}))["id"]
    campaign = await tenant.key.post(
        "/v1/campaigns",
        {
            "name": "Spring",
            "subject": mail["subject_lines"][0]["subject"],
            "from_email": "news@green-grocer.test",
            "html": mail["html"],
            "text": mail["text"],
            "audience": {"list_ids": [list_id]},
        },
    )
    assert campaign["status"] == "draft"
    usage = await tenant.owner.get("/v1/organization/usage")
    assert {"limit": "ai_tokens_per_cycle", "used": 1_500, "allowed": 2_000_000} in usage["limits"]


async def test_it_goes_by_a_template_that_whoever_asks_may_read_and_by_no_other(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    tenant, rival = await sign_up(api), await sign_up(api)
    await subscribe(api, tenant, "pro")
    ours, theirs = [
        (await each.key.post("/v1/templates", {"name": "Spring", "html": "<p>CROCUS</p>"}))["id"]
        for each in (tenant, rival)
    ]
    asked = len(model.asked)

    async def write(credential: str, **more: str) -> httpx.Response:
        return await api.post("/v1/ai/write", headers=authorization(credential), json=BRIEF | more)

    problem(await write(tenant.secret, based_on_template_id=theirs), 404, "not-found")
    blind = (await make_key(tenant.owner, {"ai:write"}))["secret"]
    problem(await write(blind, based_on_template_id=ours), 403, "insufficient-scope")
    problem(await write(tenant.secret, based_on_template_id=ours, based_on="x"), 422, "invalid-request")
    assert len(model.asked) == asked
    model.does(Says(a_mail()))
    assert (await write(tenant.secret, based_on_template_id=ours)).status_code == 200
    assert "CROCUS" in model.asked[-1]["messages"][-1]["content"]


async def test_it_is_told_as_it_is_written(api: httpx.AsyncClient, model: ModelServer) -> None:
    tenant = await sign_up(api)
    await subscribe(api, tenant, "pro")
    model.does(Says(a_mail("<p>Spring is here, and so are we.</p>")))
    headers = authorization(tenant.access_token) | {"accept": "text/event-stream"}
    answer = await api.post("/v1/ai/write", headers=headers, json=BRIEF)
    events = [event.split("\ndata: ") for event in answer.text.removesuffix("\n\n").split("\n\n")]
    *drafts, (last, mail) = events
    assert {name for name, _ in drafts} == {"event: draft"}
    assert "".join(json.loads(data)["html"] for _, data in drafts) == json.loads(mail)["html"]
    assert last == "event: mail"


async def test_below_the_plan_it_is_refused_and_nothing_is_asked(
    api: httpx.AsyncClient, model: ModelServer
) -> None:
    tenant, asked = await sign_up(api), len(model.asked)
    for credential in (tenant.secret, tenant.access_token):
        answer = await api.post("/v1/ai/write", headers=authorization(credential), json=BRIEF)
        problem(answer, 403, "plan-upgrade-required")
    await subscribe(api, tenant, "pro")
    reading = (await make_key(tenant.owner, {"ai:read"}))["secret"]
    answer = await api.post("/v1/ai/write", headers=authorization(reading), json=BRIEF)
    problem(answer, 403, "insufficient-scope")
    assert len(model.asked) == asked


async def test_without_a_provider_the_answer_says_so(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        tenant = await sign_up(api)
        await subscribe(api, tenant, "pro")
        answer = await api.post("/v1/ai/write", headers=authorization(tenant.secret), json=BRIEF)
        assert "No AI provider is configured" in problem(answer, 503, "unavailable")["detail"]
