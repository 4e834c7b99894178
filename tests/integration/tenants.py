"""Organizations that sign up at the house, each test its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from deploy.demo.client import Client, Json
from deploy.demo.waiting import until

SCOPES = frozenset({"analytics:read", "ai:write"}) | frozenset(
    f"{resource}:{verb}"
    for resource in (
        "contacts",
        "segments",
        "forms",
        "templates",
        "campaigns",
        "messages",
        "workflows",
        "suppressions",
        "domains",
        "webhooks",
        "integrations",
    )
    for verb in ("read", "write")
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organization, the session of who signed up for it, and a key with every scope."""

    organization_id: str
    email: str
    password: str
    access_token: str
    secret: str
    owner: Client
    key: Client


async def sign_up(api: httpx.AsyncClient) -> Tenant:
    """A fresh organization."""
    email, password = f"owner.{uuid4().hex}@example.test", uuid4().hex
    signed_up = await Client(api).post(
        "/v1/auth/signup",
        {"email": email, "password": password, "name": "Olive", "organization_name": "Green Grocer"},
    )
    owner = Client(api, signed_up["access_token"])
    secret = (await make_key(owner, SCOPES))["secret"]
    return Tenant(
        organization_id=signed_up["organization"]["id"],
        email=email,
        password=password,
        access_token=signed_up["access_token"],
        secret=secret,
        owner=owner,
        key=Client(api, secret),
    )


async def make_key(owner: Client, scopes: Iterable[str]) -> Json:
    """An API key with these scopes: {api_key, secret}."""
    return await owner.post("/v1/api-keys", {"name": "test", "scopes": sorted(scopes)})


async def import_contacts(key: Client, content: bytes, options: str = "{}") -> Json:
    """Upload a CSV file and wait until it is done with; answers the import."""
    started = await key.upload("/v1/contacts/imports", options, "people.csv", content)
    return await finished_import(key, started["id"])


async def finished_import(key: Client, import_id: str) -> Json:
    """The import, once it has completed or failed."""

    async def look() -> Json:
        return await key.get(f"/v1/contacts/imports/{import_id}")

    found = await until(look, lambda seen: seen["status"] in ("completed", "failed"), seconds=30)
    assert found["completed_at"], found
    return found


def authorization(credential: str) -> dict[str, str]:
    """The header that shows a credential."""
    return {"Authorization": f"Bearer {credential}"}


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document of a refusal (RFC 9457), which must be a whole one of this status and kind."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"https://flownurture.dev/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    errors = document.get("errors", [])
    assert all(error.keys() == {"field", "message"} and error["message"] for error in errors)
    assert ("errors" in document) == (status == 422)
    return document


async def subscribe(api: httpx.AsyncClient, tenant: Tenant, plan: str) -> None:
    """Have the plan from now on."""
    answer = await api.put(
        "/v1/organization/subscription", headers=authorization(tenant.access_token), json={"plan": plan}
    )
    assert answer.status_code == 200
