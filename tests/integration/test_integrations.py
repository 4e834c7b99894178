"""A CRM is connected, shown, and taken back by the whole platform; below the plan nothing of it is shown, and it can still be taken back."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from deploy.demo.waiting import until
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.crm.tests.servers.serving import serving
from services.integrations.tests.local_crm import KEY, NAMES, LocalCrm, local_crms
from tests.integration.house import House
from tests.integration.second_processes import second_gateway, second_integrations
from tests.integration.team import member_of
from tests.integration.tenants import Tenant, authorization, problem, sign_up, subscribe
from tests.integration.test_webhooks import Post, receiving

CONNECTIONS = "/v1/integrations/connections"
CREDENTIALS = "/v1/integrations/credentials"


@dataclass(frozen=True)
class Platform:
    """A gateway and an integrations process of a house, of an operator who has set CRMs up."""

    api: httpx.AsyncClient
    crms: dict[str, LocalCrm]
    house: House

    async def subscribed(self) -> Tenant:
        """An organization whose plan includes CRMs."""
        tenant = await sign_up(self.api)
        await subscribe(self.api, tenant, "pro")
        return tenant

    async def connect(self, credential: str, provider: str = "hubspot") -> httpx.Response:
        """Agree at the CRM and come back, in a browser that nobody knows; answers the page."""
        begun = await self.api.post(
            f"/v1/integrations/{provider}/authorize", headers=authorization(credential), json={}
        )
        assert begun.status_code == 200, begun.text
        back = urlsplit(await self.crms[provider].agree(begun.json()["authorization_url"]))
        return await self.api.get(f"{back.path}?{back.query}")


@pytest.fixture(scope="module")
async def platform(house: House) -> AsyncIterator[Platform]:
    async with local_crms() as crms:
        settings = json.dumps({name: crm.settings() for name, crm in crms.items()})
        async with (
            second_integrations(house, CRMS=settings) as address,
            second_gateway(house, INTEGRATIONS_TARGET=address) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as api,
        ):
            yield Platform(api, crms, house)


async def get(platform: Platform, credential: str, path: str) -> list[dict[str, object]]:
    answer = await platform.api.get(path, headers=authorization(credential))
    assert answer.status_code == 200, answer.text
    (found,) = (value for name, value in answer.json().items() if name != "next_page_token")
    return list(found)


@pytest.mark.parametrize("provider", ["hubspot", "salesforce", "pipedrive"])
async def test_a_crm_is_connected_by_who_agrees_and_revoked_when_it_is_taken_back(
    platform: Platform, provider: str
) -> None:
    tenant = await platform.subscribed()
    grants = platform.crms[provider].grants
    page = await platform.connect(tenant.access_token, provider)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Connected" in page.text
    (connection,) = await get(platform, tenant.secret, CONNECTIONS)
    assert (connection["provider"], connection["method"], connection["status"]) == (
        provider,
        "oauth",
        "active",
    )
    assert connection["account_name"] == NAMES[provider]
    assert not {*grants.access_tokens, *grants.refresh_tokens} & set(map(str, connection.values()))

    at_the_crm = set(grants.refresh_tokens)
    answer = await platform.api.delete(
        f"{CONNECTIONS}/{connection['id']}", headers=authorization(tenant.access_token)
    )
    assert answer.status_code == 204
    gone = await platform.api.get(
        f"{CONNECTIONS}/{connection['id']}", headers=authorization(tenant.access_token)
    )
    problem(gone, 404, "not-found")
    assert await until(
        lambda: _now(grants.revoked), lambda revoked: bool(at_the_crm & {*revoked}), seconds=20
    )

    async def trail() -> list[str]:
        return [
            event["act"]
            for event in (await tenant.owner.get("/v1/audit-events"))["audit_events"]
            if event["act"].startswith("integration_")
        ]

    told = await until(trail, lambda acts: len(acts) == 2, seconds=20)
    assert told == ["integration_disconnected", "integration_connected"]


async def _now(revoked: list[str]) -> list[str]:
    return list(revoked)


async def synced(
    platform: Platform, tenant: Tenant, connection: dict[str, object]
) -> list[dict[str, object]]:
    """A connection's syncs, once its last one has come to its end."""
    return await until(
        lambda: get(platform, tenant.secret, f"{CONNECTIONS}/{connection['id']}/syncs"),
        lambda found: bool(found) and found[0]["status"] == "completed",
        seconds=30,
    )


async def test_fields_are_mapped_by_what_there_is_on_both_sides(platform: Platform) -> None:
    tenant, account = await platform.subscribed(), HubSpotAccount()
    platform.crms["hubspot"].hubspot.contacts.clear()
    await platform.connect(tenant.access_token)
    (connection,) = await get(platform, tenant.secret, CONNECTIONS)
    await synced(platform, tenant, connection)
    account.tokens |= platform.crms["hubspot"].grants.access_tokens
    await tenant.key.post("/v1/custom-fields", {"key": "points", "type": "number"})
    ada = {"email": "ada@example.test", "custom_fields": {"points": 3}}
    contact = await tenant.key.post("/v1/contacts", ada)
    account.add("ada@example.test", firstname="Ada")
    path = f"{CONNECTIONS}/{connection['id']}"
    points = {"field": "custom.points", "property": "points"}
    async with serving(account.app()) as url:
        async with await psycopg.AsyncConnection.connect(platform.house.facts["database_url"]) as database:
            await database.execute(
                "UPDATE integrations.connections SET base_url = %s WHERE id = %s", (url, connection["id"])
            )
        there = await platform.api.get(f"{path}/fields", headers=authorization(tenant.secret))
        assert {"field": "custom.points", "label": "points", "type": "number", "choices": []} in there.json()[
            "fields"
        ]
        changed = await platform.api.put(
            f"{path}/field-mappings",
            headers=authorization(tenant.secret),
            json={"field_mappings": [points]},
        )
        mapped = points | {"direction": "both", "conflict_rule": "newest"}
        assert changed.json() == {"field_mappings": [mapped]}
        previewed = await platform.api.post(
            f"{path}/field-mappings/preview", headers=authorization(tenant.secret), json={}
        )
        (shown,) = previewed.json()["contacts"]
        assert (shown["contact_id"], shown["values"]) == (
            contact["id"],
            [points | {"crm_value": None, "our_value": 3, "written_to": "crm", "written": 3, "problem": ""}],
        )
        wrong = points | {"property": "firstname", "direction": "from_crm"}
        refused = await platform.api.put(
            f"{path}/field-mappings",
            headers=authorization(tenant.secret),
            json={"field_mappings": [wrong, wrong]},
        )
        errors = problem(refused, 422, "invalid-request")["errors"]
        assert {error["field"] for error in errors} == {
            "field_mappings[0].direction",
            "field_mappings[1].direction",
            "field_mappings[1].field",
            "field_mappings[1].property",
        }


async def test_a_connected_crm_is_synced_by_its_credential_and_webhooks_are_told(platform: Platform) -> None:
    tenant, crm = await platform.subscribed(), platform.crms["hubspot"]
    crm.hubspot.contacts.clear()
    crm.hubspot.calls.clear()
    crm.hubspot.add("byron@example.test", firstname="Byron")
    await tenant.key.post("/v1/contacts", {"email": "ada@example.test"})
    async with receiving() as (url, posts):
        endpoint = await tenant.owner.post(
            "/v1/webhook-endpoints", {"url": url, "event_types": ["integration.*"]}
        )
        await platform.connect(tenant.access_token)
        (connection,) = await get(platform, tenant.access_token, CONNECTIONS)
        (first,) = await synced(platform, tenant, connection)
        assert (first["trigger"], first["error"]) == ("schedule", "")
        everybody = {"ada@example.test", "byron@example.test"}
        assert {each["email"] for each in (await tenant.key.get("/v1/contacts"))["contacts"]} == everybody
        assert {each["email"] for each in crm.hubspot.contacts.values()} == everybody
        # Each of these calls showed a token that was given for this account; others are let in by no CRM.
        assert crm.hubspot.calls
        assert crm.grants.access_tokens == crm.hubspot.tokens

        async def arrived() -> list[Post]:
            return posts

        ((headers, body),) = await until(arrived, bool, seconds=20)
        event = Webhook(endpoint["secret"]).verify(body, headers)
        assert event["type"] == "integration.synced"
        assert event["data"] == {
            "connection_id": connection["id"],
            "provider": "hubspot",
            "sync_id": first["id"],
            "counts": first["counts"],
        }

        crm.hubspot.add("clara@example.test")
        asked = await platform.api.post(
            f"{CONNECTIONS}/{connection['id']}/sync", headers=authorization(tenant.secret), json={}
        )
        assert asked.status_code == 202, asked.text
        assert asked.json()["trigger"] == "request"

        async def ours() -> set[str]:
            return {each["email"] for each in (await tenant.key.get("/v1/contacts"))["contacts"]}

        await until(ours, lambda found: "clara@example.test" in found, seconds=30)


async def test_a_code_or_state_of_somebody_elses_making_connects_nothing(platform: Platform) -> None:
    for query in ("state=AAAA&code=x", "code=x", "state=%00&code=x"):
        answer = await platform.api.get(f"/v1/integrations/hubspot/callback?{query}")
        assert answer.status_code in (404, 422)
        problem(answer, answer.status_code, {404: "not-found", 422: "invalid-request"}[answer.status_code])
    problem(
        await platform.api.get("/v1/integrations/zoho/callback?state=AAAA&code=x"), 422, "invalid-request"
    )


async def test_below_the_plan_every_path_is_refused_and_shows_nothing(platform: Platform) -> None:
    tenant = await sign_up(platform.api)
    headers = [authorization(credential) for credential in (tenant.secret, tenant.access_token)]
    somewhere = f"{CONNECTIONS}/01936f0e-7f2b-7c4a-9d7e-0123456789ab"
    asked: list[Callable[[dict[str, str]], Awaitable[httpx.Response]]] = [
        lambda by: platform.api.post(CONNECTIONS, headers=by, json={"provider": "hubspot", "api_key": KEY}),
        lambda by: platform.api.post("/v1/integrations/hubspot/authorize", headers=by, json={}),
        lambda by: platform.api.get(CONNECTIONS, headers=by),
        lambda by: platform.api.get(somewhere, headers=by),
        lambda by: platform.api.delete(somewhere, headers=by),
        lambda by: platform.api.get(f"{somewhere}/fields", headers=by),
        lambda by: platform.api.get(f"{somewhere}/field-mappings", headers=by),
        lambda by: platform.api.put(f"{somewhere}/field-mappings", headers=by, json={}),
        lambda by: platform.api.post(f"{somewhere}/field-mappings/preview", headers=by, json={}),
        lambda by: platform.api.post(f"{somewhere}/sync", headers=by, json={}),
        lambda by: platform.api.get(f"{somewhere}/syncs", headers=by),
    ]
    for by in headers:
        for ask in asked:
            refused = problem(await ask(by), 403, "plan-upgrade-required")
            assert refused.keys() == {"type", "title", "status", "detail", "request_id"}


async def test_after_a_downgrade_connections_are_used_until_the_cycle_ends_and_then_stay_to_be_taken_back(
    platform: Platform,
) -> None:
    tenant = await platform.subscribed()
    await platform.connect(tenant.access_token)
    (connection,) = await get(platform, tenant.access_token, CONNECTIONS)
    await subscribe(platform.api, tenant, "free")
    assert [each["id"] for each in await get(platform, tenant.access_token, CONNECTIONS)] == [
        connection["id"]
    ]
    (held,) = await get(platform, tenant.access_token, CREDENTIALS)
    assert held["paused_by_plan"] is False

    await _end_the_cycle(platform.house, tenant)

    async def listed() -> httpx.Response:
        return await platform.api.get(CONNECTIONS, headers=authorization(tenant.access_token))

    refused = await until(listed, lambda answer: answer.status_code == 403, seconds=60)
    problem(refused, 403, "plan-upgrade-required")
    (held,) = await get(platform, tenant.access_token, CREDENTIALS)
    assert (held["connection_id"], held["paused_by_plan"]) == (connection["id"], True)
    taken_back = await platform.api.delete(
        f"{CREDENTIALS}/{connection['id']}", headers=authorization(tenant.access_token)
    )
    assert taken_back.status_code == 204
    assert await get(platform, tenant.access_token, CREDENTIALS) == []


async def _end_the_cycle(house: House, tenant: Tenant) -> None:
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "UPDATE identity.organizations SET next_plan_at = now() - interval '1 second'"
            " WHERE organization_id = %s",
            (tenant.organization_id,),
        )


async def test_what_somebody_connected_who_was_removed_is_listed_and_revoked_separately(
    platform: Platform,
) -> None:
    tenant = await platform.subscribed()
    await platform.connect(tenant.access_token, "salesforce")
    token, user_id = await member_of(tenant, platform.api, platform.house)
    await tenant.owner.patch(f"/v1/team/members/{user_id}", {"role": "ORG_ADMIN"})
    assert "Connected" in (await platform.connect(token, "hubspot")).text
    await tenant.owner.delete(f"/v1/team/members/{user_id}")
    problem(await platform.api.get(CONNECTIONS, headers=authorization(token)), 401, "unauthenticated")

    theirs = await get(platform, tenant.access_token, f"{CREDENTIALS}?connected_by={user_id}")
    assert [each["provider"] for each in theirs] == ["hubspot"]
    await platform.api.delete(
        f"{CREDENTIALS}/{theirs[0]['connection_id']}", headers=authorization(tenant.access_token)
    )
    left = await get(platform, tenant.access_token, CONNECTIONS)
    assert [each["provider"] for each in left] == ["salesforce"]
