"""What docs/audit.md tells a tenant to run verifies the tenant's trail, and nothing but an unbroken one."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from deploy.demo.client import Json
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.tenants import Tenant, sign_up

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"


async def verify(house: House, tenant: Tenant) -> tuple[int, str]:
    """Run what stands in the document, with nothing but the standard library; its exit code and what it said."""
    [block] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", block),
        env={
            "PATH": os.environ["PATH"],
            "FLOWNURTURE_URL": house.gateway_url,
            "FLOWNURTURE_TOKEN": tenant.access_token,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode().strip()


async def test_a_tenant_verifies_its_trail_with_what_the_document_says(
    house: House, api: httpx.AsyncClient
) -> None:
    tenant = await sign_up(api)
    await tenant.owner.patch("/v1/organization", {"name": "Grüne Grüße 🌱"})
    newest = (await tenant.owner.get("/v1/audit-events", page_size=1))["audit_events"][0]
    assert (newest["act"], newest["after"]) == ("organization_renamed", {"name": "Grüne Grüße 🌱"})
    assert newest["client_address"]
    assert await verify(house, tenant) == (0, f"{newest['sequence']} {newest['hash']}")


async def test_what_is_done_with_webhook_endpoints_is_in_the_trail_and_verifies(
    house: House, api: httpx.AsyncClient
) -> None:
    tenant = await sign_up(api)
    asked = {
        "url": "https://hooks.example.com/T0K3N?key=T0K3N",
        "event_types": ["email.bounced"],
        "headers": {"X-Key": "T0K3N"},
    }
    endpoint = await tenant.owner.post("/v1/webhook-endpoints", asked)
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    await tenant.key.patch(path, {"event_types": ["email.*"], "enabled": False})
    rotated = await tenant.owner.post(f"{path}/rotate-secret", {})
    await tenant.key.patch(path, {"enabled": True})
    await tenant.key.post(f"{path}/replays", {"since": "2026-01-01T00:00:00Z"})
    await tenant.owner.delete(path)

    async def trail() -> list[Json]:
        found: list[Json] = (await tenant.owner.get("/v1/audit-events"))["audit_events"]
        return found

    def told(found: list[Json]) -> dict[str, Json]:
        return {event["act"]: event for event in found if event["act"].startswith("webhook_")}

    found = await until(trail, lambda seen: len(told(seen)) == 7, seconds=20)
    acts = told(found)
    user = (await tenant.owner.get("/v1/me"))["user"]["id"]
    assert {act.removeprefix("webhook_"): event["actor"]["kind"] for act, event in acts.items()} == {
        "endpoint_created": "user",
        "endpoint_updated": "api_key",
        "endpoint_disabled": "api_key",
        "secret_rotated": "user",
        "endpoint_enabled": "api_key",
        "replay_requested": "api_key",
        "endpoint_deleted": "user",
    }
    for event in acts.values():
        by_user = event["actor"]["kind"] == "user"
        assert (event["actor"]["id"] == user) == by_user
        assert event["role"] == ("ORG_ADMIN" if by_user else None)
        assert (event["target_id"], bool(event["client_address"])) == (endpoint["id"], True)
    changed = acts["webhook_endpoint_updated"]
    assert (changed["before"], changed["after"]) == (
        {"event_types": ["email.bounced"]},
        {"event_types": ["email.*"]},
    )
    for secret in ("T0K3N", endpoint["secret"], rotated["secret"]):
        assert secret not in json.dumps(found)
    assert await verify(house, tenant) == (0, f"{found[0]['sequence']} {found[0]['hash']}")


_THIRD = """
    SELECT id, act, after::text, client_address, sequence FROM identity.audit_events WHERE organization_id = %s AND sequence = 3
"""
_AS_IT_WAS = """
    UPDATE identity.audit_events SET act = %s, after = %s::jsonb, client_address = %s, sequence = %s WHERE id = %s
"""


@pytest.mark.parametrize(
    "change", ["act = 'logged_in'", "after = NULL", "client_address = '192.0.2.1'", "sequence = 99"]
)
async def test_it_says_where_a_trail_was_tampered_with(
    house: House, api: httpx.AsyncClient, change: str
) -> None:
    tenant = await sign_up(api)
    await tenant.owner.patch("/v1/organization", {"name": "Greener"})
    # Only as long as it is looked at: others of the house verify the trails of all.
    with psycopg.connect(house.facts["database_url"]) as connection:
        kept = connection.execute(_THIRD, [tenant.organization_id]).fetchone()
        assert kept
        tampering = sql.SQL("UPDATE identity.audit_events SET {} WHERE id = %s").format(sql.SQL(change))
        connection.execute(tampering, [kept[0]])
        connection.commit()
        assert await verify(house, tenant) == (1, "the trail is broken at event 3")
        connection.execute(_AS_IT_WAS, [*kept[1:], kept[0]])
