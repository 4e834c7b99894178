"""Every operation of the contract, called by those who must not: the stranger, nobody, the wrong key, the wrong role."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from chassis.contract.access import Audience
from chassis.identifiers import new_id
from deploy.demo.client import Json
from deploy.demo.waiting import until
from services.webhooks.event_types import EVENT_TYPES
from tests.integration.house import House
from tests.integration.operations import (
    ALIKE,
    BODIES,
    ENDPOINTS,
    FURTHER_BODIES,
    Belongings,
    Body,
    names_of,
    operation,
)
from tests.integration.tenants import (
    SCOPES,
    Tenant,
    authorization,
    import_contacts,
    make_key,
    problem,
    sign_up,
)

TENANT = names_of(Audience.TENANT)
WITH_CREDENTIAL = names_of(Audience.TENANT, Audience.ACCOUNT, Audience.PLATFORM)
BY_ID = [name for name in TENANT if ENDPOINTS[name].template.variables]
LISTS = [
    name
    for name in TENANT
    if "next_page_token" in ENDPOINTS[name].rpc.output_type.fields_by_name and name not in BY_ID
]
SCOPED = [name for name in TENANT if ENDPOINTS[name].access.scope]
UNSCOPED = [name for name in WITH_CREDENTIAL if not ENDPOINTS[name].access.scope]
# What an organization has that only chose a plan: its owner, the key that `sign_up` made, the trail of all three, and what is there to be copied.
FROM_THE_START = {
    "sending.v1.ReadyMadeWorkflowService.ListReadyMadeWorkflows": 5,
    "webhooks.v1.WebhookEventTypeService.ListWebhookEventTypes": len(EVENT_TYPES),
    "identity.v1.ApiKeyService.ListApiKeys": 1,
    "identity.v1.TeamService.ListMembers": 1,
    "identity.v1.AuditService.ListAuditEvents": 3,
}


# What a document names and is nowhere is told by its place in it.
NOWHERE_IN_A_DOCUMENT = {
    "sending.v1.WorkflowService.CreateWorkflow": (422,),
    # The house's operator has no language model.
    "integrations.v1.WritingService.WriteMail": (503,),
    "integrations.v1.CopilotService.AskCopilot": (503,),
}
# Operators, too, are refused what an organization has only one of, and to erase it by another name.
REFUSED_TO_OPERATORS = {
    "sending.v1.IpPoolAdminService.CreateIpPool": 409,
    "identity.v1.AdminService.RequestOrganizationErasure": 422,
}


# What changes by itself, where something is on its way.
MOVING = {
    *("events", "smtp_reply", "settled_at", "completed_at", "last_used_at"),
    *("attempts", "attempt_count", "next_attempt_at", "failing_since"),
}


# Of a house's own accord no CRM is set up.
NOT_SET_UP = {
    "integrations.v1.ConnectionService.CreateConnection": (409,),
    "integrations.v1.AuthorizationService.BeginAuthorization": (409,),
}

# What a CRM has to be asked for, and these shops' have none that would answer.
OF_A_CRM = {"integrations.v1.FieldMappingService.GetMappableFields"}


@dataclass(frozen=True)
class Shop:
    """An organization that has one of everything, and what its paths say of it."""

    tenant: Tenant
    own: Belongings


async def domain_of(tenant: Tenant, house: House) -> str:
    """A domain of an organization whose plan has none, as one keeps it after a downgrade."""
    domain = new_id()
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "INSERT INTO sending.domains (organization_id, id, name, status) VALUES (%s, %s, %s, 'pending')",
            (UUID(tenant.organization_id), domain, f"{domain.hex}.test"),
        )
    return str(domain)


async def ip_pool_of(tenant: Tenant, house: House) -> tuple[str, str]:
    """A pool of an organization and its address, as an operator makes it, and as one keeps it after a downgrade."""
    organization, pool, address = UUID(tenant.organization_id), new_id(), new_id()
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "INSERT INTO sending.ip_pools (organization_id, id, name) VALUES (%s, %s, 'Own')",
            (organization, pool),
        )
        await connection.execute(
            "INSERT INTO sending.ip_pool_addresses (organization_id, id, ip_pool_id, source_address, warm_at)"
            " VALUES (%s, %s, %s, '127.0.0.1', now())",
            (organization, address, pool),
        )
    return str(pool), str(address)


async def acts_of(tenant: Tenant, *, until_there: str) -> set[str]:
    """What the audit trail of an organization tells of. What was done elsewhere gets into it a moment later."""

    async def acts() -> set[str]:
        return {event["act"] for event in (await tenant.owner.get("/v1/audit-events"))["audit_events"]}

    return await until(acts, lambda found: until_there in found, seconds=20)


async def connection_of(tenant: Tenant, house: House) -> str:
    """A connection to a CRM, as an organization keeps it after a downgrade."""
    connection = new_id()
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connected:
        await connected.execute(
            "INSERT INTO integrations.connections (organization_id, id, provider, method, account_id,"
            " account_name, base_url, connected_by, connected_by_kind)"
            " VALUES (%s, %s, 'hubspot', 'api_key', '4711', 'Grocer', 'http://127.0.0.1:9', %s, 'user')",
            (UUID(tenant.organization_id), connection, new_id()),
        )
    return str(connection)


async def sync_of(tenant: Tenant, connection_id: str, house: House) -> str:
    """A sync of it that has ended."""
    sync = new_id()
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connected:
        await connected.execute(
            "INSERT INTO integrations.syncs (organization_id, id, connection_id, trigger, status, finished_at)"
            " VALUES (%s, %s, %s, 'schedule', 'completed', now())",
            (UUID(tenant.organization_id), sync, UUID(connection_id)),
        )
    return str(sync)


async def furnish(tenant: Tenant, house: House) -> Belongings:
    """Make one of everything."""
    key = tenant.key
    made: dict[str, Json] = {"list": await key.post("/v1/lists", {"name": "Newsletter"})}
    list_id = made["list"]["id"]
    made["contact"] = await key.post("/v1/contacts", {"email": "ada@example.test", "list_ids": [list_id]})
    made["import"] = await import_contacts(key, b"email\ngrace@example.test\n")
    made["tag"] = await key.post("/v1/tags", {"name": "vip"})
    made["custom_field"] = await key.post("/v1/custom-fields", {"key": "city", "type": "text"})
    within = {"list_id": list_id, "tag_id": made["tag"]["id"], "contact_id": made["contact"]["id"]}
    for thing, path, rpc in (
        ("segment", "/v1/segments", "SegmentService.CreateSegment"),
        ("form", "/v1/forms", "FormService.CreateForm"),
        ("export", "/v1/contacts/exports", "ExportService.CreateExport"),
        ("bulk_change", "/v1/contacts/bulk-changes", "BulkChangeService.CreateBulkChange"),
    ):
        made[thing] = await key.post(path, BODIES[f"contacts.v1.{rpc}"](within))
    made["campaign"] = await key.post(
        "/v1/campaigns", BODIES["sending.v1.CampaignService.CreateCampaign"]({"list_id": list_id})
    )
    made["template"] = await key.post(
        "/v1/templates", BODIES["sending.v1.TemplateService.CreateTemplate"]({})
    )
    made["workflow"] = await key.post(
        "/v1/workflows", BODIES["sending.v1.WorkflowService.CreateWorkflow"](within)
    )
    workflow = f"/v1/workflows/{made['workflow']['id']}"
    await key.post(f"{workflow}/activate", {})
    made["enrollment"] = await key.post(f"{workflow}/enrollments", {"contact_id": made["contact"]["id"]})
    await key.post(f"{workflow}/pause", {})
    made["domain"] = {"id": await domain_of(tenant, house)}
    made["ip_pool"], made["address"] = ({"id": known} for known in await ip_pool_of(tenant, house))
    letter = BODIES["sending.v1.MessageService.CreateMessage"]({})
    made["message"] = (await key.post("/v1/messages", letter))["message"]
    made["suppression"] = await key.post("/v1/suppressions", {"email": "no@example.test", "reason": "manual"})
    made["endpoint"] = await key.post(
        "/v1/webhook-endpoints", BODIES["webhooks.v1.WebhookEndpointService.CreateWebhookEndpoint"]({})
    )
    endpoint = f"/v1/webhook-endpoints/{made['endpoint']['id']}"
    made["delivery"] = await key.post(f"{endpoint}/test", {})
    made["replay"] = await key.post(f"{endpoint}/replays", {"since": "2026-01-01T00:00:00Z"})
    made["connection"] = {"id": await connection_of(tenant, house)}
    made["sync"] = {"id": await sync_of(tenant, made["connection"]["id"], house)}
    made["api_key"] = (await make_key(tenant.owner, ["contacts:read"]))["api_key"]
    made["invitation"] = await tenant.owner.post(
        "/v1/team/invitations", {"email": "joan@example.test", "role": "MEMBER"}
    )
    made["user"] = (await tenant.owner.get("/v1/me"))["user"]
    made["session"] = (await tenant.owner.get("/v1/auth/sessions"))["sessions"][0]
    made["organization"] = await tenant.owner.get("/v1/organization")
    last = "webhook_replay_requested"
    assert last in await acts_of(tenant, until_there=last)
    return {f"{name}_id": thing["id"] for name, thing in made.items()} | {
        "password": tenant.password,
        **ALIKE,
    }


@pytest.fixture(scope="module")
async def clients(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as clients:
        yield clients


async def subscribed(clients: httpx.AsyncClient) -> Tenant:
    """An organization with every feature, so that none of them is what refuses."""
    tenant = await sign_up(clients)
    answer = await clients.put(
        "/v1/organization/subscription",
        headers=authorization(tenant.access_token),
        json={"plan": "enterprise"},
    )
    assert answer.status_code == 200
    return tenant


@pytest.fixture(scope="module")
async def shop(clients: httpx.AsyncClient, house: House) -> Shop:
    tenant = await subscribed(clients)
    return Shop(tenant, await furnish(tenant, house))


@pytest.fixture(scope="module")
async def rival(clients: httpx.AsyncClient, house: House) -> Shop:
    tenant = await subscribed(clients)
    return Shop(tenant, await furnish(tenant, house))


@pytest.fixture(scope="module")
async def newcomer(clients: httpx.AsyncClient, shop: Shop) -> Tenant:
    return await subscribed(clients)


@pytest.fixture(scope="module")
async def limited_keys(clients: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """By scope: a key with all scopes but this one, and a key with only this one. Of a furnished organization."""
    tenant = await subscribed(clients)
    return {
        scope: (
            (await make_key(tenant.owner, SCOPES - {scope}))["secret"],
            (await make_key(tenant.owner, {scope}))["secret"],
        )
        for scope in SCOPES
    }


def test_every_operation_has_a_request_here() -> None:
    assert set(WITH_CREDENTIAL) == set(BODIES)
    assert {ENDPOINTS[name].access.scope for name in SCOPED} == SCOPES


@pytest.mark.parametrize("name", BY_ID)
async def test_an_id_of_another_organization_is_as_if_it_did_not_exist(
    clients: httpx.AsyncClient, shop: Shop, rival: Shop, name: str
) -> None:
    stranger, wanted = rival.tenant, operation(name)
    credentials = [stranger.access_token, *([stranger.secret] if wanted.endpoint.access.scope else [])]
    for variable in wanted.endpoint.template.variables - ALIKE.keys():
        theirs = {variable: shop.own[variable]}
        nobodys = {variable: str(new_id())}
        for credential in credentials:
            refusal = problem(await wanted.call(clients, credential, rival.own, **theirs), 404, "not-found")
            unknown = problem(await wanted.call(clients, credential, rival.own, **nobodys), 404, "not-found")
            assert refusal["detail"].replace(theirs[variable], "…") == unknown["detail"].replace(
                nobodys[variable], "…"
            )


@pytest.mark.parametrize("name", LISTS)
async def test_a_new_organization_lists_nothing(
    clients: httpx.AsyncClient, newcomer: Tenant, name: str
) -> None:
    wanted = operation(name)
    credentials = [newcomer.access_token, *([newcomer.secret] if wanted.endpoint.access.scope else [])]
    for credential in credentials:
        page = (await wanted.call(clients, credential, {})).json()
        (resource,) = page.keys() - {"next_page_token"}
        assert len(page[resource]) == FROM_THE_START.get(name, 0)
        assert page["next_page_token"] == ""


def _places(
    body: object, ids: Mapping[str, str], path: tuple[object, ...] = ()
) -> Iterator[tuple[object, ...]]:
    """Where in a body something of one's own is referred to."""
    if isinstance(body, dict | list):
        for key, value in body.items() if isinstance(body, dict) else enumerate(body):
            yield from _places(value, ids, (*path, key))
    elif body in ids:
        yield path


def _replaced(body: Any, path: tuple[Any, ...], value: str) -> Any:
    if not path:
        return value
    changed = dict(body) if isinstance(body, dict) else list(body)
    changed[path[0]] = _replaced(body[path[0]], path[1:], value)
    return changed


REFERRING = [
    (name, build)
    for name, build in (*BODIES.items(), *FURTHER_BODIES)
    if name in TENANT
    and name.startswith("contacts.")
    and ENDPOINTS[name].body
    and not ENDPOINTS[name].is_upload
]


@pytest.mark.parametrize(("name", "build"), REFERRING)
async def test_no_place_in_a_body_takes_what_is_another_organizations(
    clients: httpx.AsyncClient, shop: Shop, rival: Shop, name: str, build: Body
) -> None:
    path = ENDPOINTS[name].template.text
    for variable in ENDPOINTS[name].template.variables:
        path = path.replace(f"{{{variable}}}", rival.own[variable])
    kinds = {rival.own[kind]: kind for kind in rival.own if kind.endswith("_id")}
    body = build(rival.own)
    for place in _places(body, kinds):
        value = body
        for step in place:
            value = value[step]  # type: ignore[index]
        for foreign in (shop.own[kinds[value]], str(new_id())):  # type: ignore[index]
            answer = await clients.request(
                ENDPOINTS[name].verb,
                path,
                headers=authorization(rival.tenant.secret),
                json=_replaced(body, place, foreign),
            )
            problem(answer, 404, "not-found")
    good = await clients.request(
        ENDPOINTS[name].verb, path, headers=authorization(rival.tenant.secret), json=body
    )
    assert good.status_code == ENDPOINTS[name].success_status


@pytest.mark.parametrize("kind", ["list_id", "tag_id"])
async def test_no_query_takes_what_is_another_organizations(
    clients: httpx.AsyncClient, shop: Shop, rival: Shop, kind: str
) -> None:
    for foreign in (shop.own[kind], str(new_id())):
        answer = await clients.get(
            "/v1/contacts", params={kind: foreign}, headers=authorization(rival.tenant.secret)
        )
        problem(answer, 404, "not-found")


async def test_an_id_of_another_organization_in_a_body_is_as_if_it_did_not_exist(
    clients: httpx.AsyncClient, shop: Shop, rival: Shop
) -> None:
    stranger, theirs, headers = rival.tenant, shop.own, authorization(rival.tenant.secret)
    email = "mallory@example.test"
    joined = await clients.post(
        "/v1/contacts", headers=headers, json={"email": email, "list_ids": [theirs["list_id"]]}
    )
    assert joined.status_code in (404, 422)
    problem(joined, joined.status_code, {404: "not-found", 422: "invalid-request"}[joined.status_code])
    assert (await stranger.key.get("/v1/contacts", email=email))["contacts"] == []

    into_list = f"/v1/lists/{rival.own['list_id']}/contacts"
    before = await stranger.key.get(into_list)
    added = await clients.post(into_list, headers=headers, json={"contact_ids": [theirs["contact_id"]]})
    assert added.status_code in (404, 422)
    assert await stranger.key.get(into_list) == before

    options = json.dumps({"list_id": theirs["list_id"]})
    parts = [("options", (None, options)), ("file", ("a.csv", f"email\n{email}\n"))]
    problem(await clients.post("/v1/contacts/imports", headers=headers, files=parts), 404, "not-found")

    aimed = BODIES["sending.v1.CampaignService.CreateCampaign"](theirs)
    campaign = await clients.post("/v1/campaigns", headers=headers, json=aimed)
    launched = await clients.post(f"/v1/campaigns/{campaign.json()['id']}/launch", headers=headers, json={})
    problem(launched, 422, "invalid-request")


async def test_what_strangers_tried_to_change_is_as_it_was(
    clients: httpx.AsyncClient, shop: Shop, rival: Shop
) -> None:
    async def everything() -> list[object]:
        readable = [name for name in BY_ID if ENDPOINTS[name].verb == "GET" and name not in OF_A_CRM]
        answers = [
            await operation(name).call(clients, shop.tenant.access_token, shop.own)
            for name in (*readable, *LISTS)
        ]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() if _is_json(answer) else answer.text for answer in answers]

    # The one message of the shop comes to its end meanwhile, and the one replay; nobody takes the one delivery.
    before = await everything()
    for name in BY_ID:
        await operation(name).call(clients, rival.tenant.access_token, shop.own)
    assert _unsettled(await everything()) == _unsettled(before)


def _is_json(answer: httpx.Response) -> bool:
    return answer.headers["content-type"] == "application/json"


def _unsettled(things: object) -> object:
    """Without what changes by itself: the progress of a message, a delivery or a replay, and the last use of a key."""
    if isinstance(things, list):
        return [_unsettled(thing) for thing in things]
    if isinstance(things, dict):
        moving = MOVING | ({"status"} if things.keys() & {"smtp_reply", "replayed_count"} else set())
        return {name: _unsettled(value) for name, value in things.items() if name not in moving}
    return things


@pytest.mark.parametrize("name", WITH_CREDENTIAL)
async def test_without_a_credential_nothing_opens(clients: httpx.AsyncClient, shop: Shop, name: str) -> None:
    for credential in (None, "nonsense", shop.tenant.secret[:-1], shop.tenant.access_token[:-2]):
        answer = await operation(name).call(clients, credential, shop.own)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", SCOPED)
async def test_a_key_does_what_its_scope_says_and_nothing_else(
    clients: httpx.AsyncClient, limited_keys: dict[str, tuple[str, str]], name: str
) -> None:
    wanted = operation(name)
    nowhere = dict.fromkeys(
        ("list_id", "tag_id", *wanted.endpoint.template.variables, "contact_id"), str(new_id())
    )
    # Of a path that takes a number or a CRM, another text is not even one.
    nowhere |= {name: ALIKE[name] for name in ("number", "provider")}
    lacking, holding = limited_keys[wanted.endpoint.access.scope]
    problem(await wanted.call(clients, lacking, nowhere), 403, "insufficient-scope")
    # Allowed: then either done, or there is nothing of that id.
    answer = await wanted.call(clients, holding, nowhere)
    done_or_nowhere = (404,) if wanted.endpoint.template.variables else (200, 201, 202, 404)
    assert answer.status_code in (NOWHERE_IN_A_DOCUMENT | NOT_SET_UP).get(name, done_or_nowhere)


@pytest.mark.parametrize("name", UNSCOPED)
async def test_no_key_does_what_takes_a_user(clients: httpx.AsyncClient, shop: Shop, name: str) -> None:
    problem(await operation(name).call(clients, shop.tenant.secret, shop.own), 403, "insufficient-scope")


@pytest.mark.parametrize("name", names_of(Audience.PLATFORM))
async def test_what_operators_do_takes_an_operator(
    clients: httpx.AsyncClient, house: House, shop: Shop, name: str
) -> None:
    refused = await operation(name).call(clients, shop.tenant.access_token, shop.own)
    problem(refused, 403, "insufficient-role")
    operator = await clients.post("/v1/auth/login", json=house.facts["super_admin"])
    answer = await operation(name).call(clients, operator.json()["access_token"], shop.own)
    assert answer.status_code == REFUSED_TO_OPERATORS.get(name, ENDPOINTS[name].success_status)


async def test_an_operator_sees_nothing_of_what_is_an_organizations(
    clients: httpx.AsyncClient, house: House, shop: Shop
) -> None:
    operator = (await clients.post("/v1/auth/login", json=house.facts["super_admin"])).json()["access_token"]
    for name in TENANT:
        answer = await operation(name).call(clients, operator, shop.own)
        problem(answer, 403, "insufficient-role")
