"""What docs/audit.md tells a tenant to run verifies the tenant's trail, and nothing but an unbroken one."""

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

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


@pytest.mark.parametrize(
    "change", ["act = 'logged_in'", "after = NULL", "client_address = '192.0.2.1'", "sequence = 99"]
)
async def test_it_says_where_a_trail_was_tampered_with(
    house: House, api: httpx.AsyncClient, change: str
) -> None:
    tenant = await sign_up(api)
    await tenant.owner.patch("/v1/organization", {"name": "Greener"})
    with psycopg.connect(house.facts["database_url"]) as connection:
        changed = connection.execute(
            sql.SQL("UPDATE identity.audit_events SET {} WHERE organization_id = %s AND sequence = 3").format(
                sql.SQL(change)
            ),
            [tenant.organization_id],
        )
        assert changed.rowcount == 1
    assert await verify(house, tenant) == (1, "the trail is broken at event 3")
