"""What the chassis remembers is forgotten when it is too old, and not before."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.idempotency import remembered
from chassis.retention import REQUESTS_AND_EVENTS, Forgetting
from chassis.tests.probe import Probe
from flownurture.identity.v1.events_pb2 import OrganizationCreated


async def test_old_keys_and_inbox_rows_of_every_organization_are_forgotten_and_young_ones_kept(
    database: Database, scheduler_database: RoleDatabase, probe: Probe
) -> None:
    tenants = [RequestContext.of_process("probe", uuid4()) for _ in range(3)]
    organizations = [tenant.organization for tenant in tenants]
    answer = asyncio.Future[OrganizationCreated]()
    answer.set_result(OrganizationCreated())
    for tenant in tenants:
        for key in ("young", "old"):
            context = replace(tenant, idempotency_key=key)
            async with database.tenant_transaction(context) as session:
                await remembered(session, context, key, b"", lambda: answer)
                await session.execute(
                    text("INSERT INTO inbox (reader, event_id) VALUES (:reader, uuidv7())"), {"reader": key}
                )
    for statement in (
        "UPDATE idempotency_keys SET created_at = now() - interval '49 hours' WHERE method = 'old' RETURNING 1",
        "UPDATE idempotency_keys SET created_at = now() - interval '47 hours' WHERE method = 'young' RETURNING 1",
        "UPDATE inbox SET created_at = now() - interval '15 days' WHERE reader = 'old' RETURNING 1",
        "UPDATE inbox SET created_at = now() - interval '13 days' WHERE reader = 'young' RETURNING 1",
    ):
        probe.look(statement)
    await Forgetting(scheduler_database, *REQUESTS_AND_EVENTS).round()
    for table, column in (("idempotency_keys", "method"), ("inbox", "reader")):
        rows = probe.look(f"SELECT {column} FROM {table} WHERE organization_id = ANY(%s)", organizations)
        assert rows == [("young",)] * 3
