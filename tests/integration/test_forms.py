"""Forms of the whole platform, without a browser."""

import httpx

from tests.integration.house import House
from tests.integration.tenants import authorization, problem, sign_up


async def test_the_form_of_a_suspended_organization_takes_nobody_in(
    api: httpx.AsyncClient, house: House
) -> None:
    tenant = await sign_up(api)
    friends = await tenant.key.post("/v1/lists", {"name": "Friends"})
    form = await tenant.key.post(
        "/v1/forms",
        {
            "name": "Blog",
            "consent_text": "Yes",
            "from_email": "news@green-grocer.test",
            "list_ids": [friends["id"]],
            "double_opt_in": False,
        },
    )
    operator = (await api.post("/v1/auth/login", json=house.facts["super_admin"])).json()["access_token"]

    async def suspend(suspended: bool) -> None:
        path = f"/v1/admin/organizations/{tenant.organization_id}"
        answer = await api.patch(path, headers=authorization(operator), json={"suspended": suspended})
        assert answer.status_code == 200

    async def submit() -> httpx.Response:
        return await api.post(f"/f/{form['id']}", data={"email": "ada@example.test"})

    await suspend(True)
    problem(await submit(), 403, "organization-suspended")
    await suspend(False)
    assert (await submit()).status_code == 200
    assert len((await tenant.key.get("/v1/contacts"))["contacts"]) == 1
