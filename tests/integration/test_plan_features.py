"""What a plan does not have is refused by the API itself, whatever a client sends."""

from typing import Any

import httpx
import pytest

from tests.integration.house import House
from tests.integration.tenants import authorization, problem, sign_up, subscribe

ADVANCED: dict[str, dict[str, Any]] = {
    "engagement": {"engagement": {"event": "opened", "within_days": 30}},
    "a relative date": {"field": {"name": "created_at", "operator": "in_last_days", "value": 7}},
    "a group in a group": {
        "all": [{"any": [{"field": {"name": "email", "operator": "contains", "value": "a"}}]}]
    },
}
SIMPLE = {"all": [{"not": {"field": {"name": "email", "operator": "contains", "value": "nobody"}}}]}


@pytest.mark.parametrize("kind", ADVANCED)
async def test_an_advanced_rule_is_refused_below_the_plan_and_shows_nothing(
    api: httpx.AsyncClient, house: House, kind: str
) -> None:
    tenant, rule = await sign_up(api), ADVANCED[kind]
    await tenant.key.post("/v1/contacts", {"email": "ada@example.test"})

    async def answers() -> list[httpx.Response]:
        return [
            await api.post(path, headers=authorization(credential), json=body)
            for credential in (tenant.secret, tenant.access_token)
            for path, body in (
                ("/v1/segments/preview", {"rule": rule}),
                ("/v1/segments", {"name": kind, "rule": rule}),
            )
        ]

    for answer in await answers():
        problem(answer, 403, "plan-upgrade-required")
        assert "ada@example.test" not in answer.text
    assert (await tenant.key.get("/v1/segments"))["segments"] == []
    assert (await tenant.key.post("/v1/segments/preview", {"rule": SIMPLE}))["count"] == 1
    await subscribe(api, tenant, "pro")
    assert {answer.status_code for answer in await answers()} == {200, 201}


async def test_a_saved_rule_is_shown_as_it_was_written(api: httpx.AsyncClient, house: House) -> None:
    tenant = await sign_up(api)
    made = await tenant.key.post("/v1/segments", {"name": "All", "rule": SIMPLE})
    assert made["rule"] == SIMPLE
    assert (await tenant.key.get(f"/v1/segments/{made['id']}"))["rule"] == SIMPLE
    assert (await tenant.key.get(f"/v1/segments/{made['id']}/contacts"))["contacts"] == []
