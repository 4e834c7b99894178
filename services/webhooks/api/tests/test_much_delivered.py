"""Whatever an endpoint was sent, what is asked for is found by reading little else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import insert, text

from chassis.database import TenantSession
from chassis.identifiers import derived_id, new_id
from services.webhooks import replays
from services.webhooks.api.tests.tenant import Tenant
from services.webhooks.deliveries import DeliveryStatus, Wanted, page_deliveries
from services.webhooks.replays import Chosen, create_replay, replay_piece
from services.webhooks.tables import deliveries, events

NUMBER = 3_000
EVERY = timedelta(minutes=10)
NOW = datetime.now(UTC)
# Every so many-th is not delivered.
OTHERS = {500: "failed", 700: "pending", 900: "cancelled"}
SINCE, UNTIL = NOW - timedelta(days=11), NOW - timedelta(days=10)
IN_A_DAY = 144

_READ = text("""
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
    WHERE schemaname = 'webhooks' AND relname = 'deliveries'
""")


async def much_delivered(tenant: Tenant, endpoint_id: UUID) -> None:
    """Deliveries of the last weeks, one every ten minutes, nearly all of them delivered."""
    rows = []
    for number in range(NUMBER):
        moment = NOW - EVERY * number
        status = next((name for nth, name in OTHERS.items() if number % nth == nth - 1), "delivered")
        rows.append(
            {
                "id": derived_id(int(moment.timestamp() * 1000), new_id().bytes),
                "endpoint_id": endpoint_id,
                "event_id": new_id(),
                "event_type": "contact.created",
                "status": status,
                "attempts": 1,
                "scheduled": 1,
                "created_at": moment,
                "due_at": NOW + EVERY if status == "pending" else None,
            }
        )
    told = [{"id": row["event_id"], "type": "contact.created", "payload": b"{}"} for row in rows]
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await session.execute(insert(events), told)
        await session.execute(insert(deliveries), rows)


async def read(session: TenantSession) -> int:
    """How many deliveries were read so far: by the transaction, and by others on its connection of which nothing was told yet."""
    return int(await session.scalar(_READ))


@pytest.fixture
async def endpoint_id(tenant: Tenant, owner_database_url: Callable[[str], str]) -> UUID:
    endpoint_id = UUID((await tenant.add()).id)
    await much_delivered(tenant, endpoint_id)
    # As PostgreSQL does by itself, some time after so many rows came: without it, it cannot know that they are many.
    async with await psycopg.AsyncConnection.connect(owner_database_url("webhooks")) as connection:
        await connection.execute("ANALYZE webhooks.deliveries")
    return endpoint_id


@pytest.mark.parametrize("status", [DeliveryStatus.FAILED, DeliveryStatus.CANCELLED, DeliveryStatus.PENDING])
async def test_what_is_not_delivered_is_found_without_reading_what_is(
    tenant: Tenant, endpoint_id: UUID, status: DeliveryStatus
) -> None:
    async with tenant.database.tenant_transaction(tenant.context, read_only=True) as session:
        found = await page_deliveries(session, Wanted(endpoint_id, status), before=None, size=50)
        assert {each.status for each in found} == {status}
        assert await read(session) < NUMBER / 30


async def test_what_was_sent_in_a_range_is_found_without_reading_what_came_after(
    tenant: Tenant, endpoint_id: UUID
) -> None:
    async with tenant.database.tenant_transaction(tenant.context, read_only=True) as session:
        found = await page_deliveries(
            session, Wanted(endpoint_id, since=SINCE, until=UNTIL), before=None, size=500
        )
        assert {SINCE <= each.created_at < UNTIL for each in found} == {True}
        assert len(found) == IN_A_DAY
        assert await read(session) < NUMBER / 4


@pytest.mark.parametrize(("chosen", "number"), [(Chosen.DELIVERED, IN_A_DAY), (Chosen.FAILED, 1)])
async def test_a_piece_of_a_replay_reads_little_outside_of_its_range(
    tenant: Tenant, endpoint_id: UUID, chosen: Chosen, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "PIECE", 20)
    async with tenant.database.tenant_transaction(tenant.context) as session:
        replay = await create_replay(session, endpoint_id, chosen, since=SINCE, until=UNTIL)
    begun, more = 0, True
    while more:
        async with tenant.database.tenant_transaction(tenant.context) as session:
            before = await read(session)
            more = await replay_piece(session, replay.id) is not None
            begun = (await replays.get_replay(session, replay.id)).replayed
            assert await read(session) - before < 2 * IN_A_DAY
    assert number - 2 <= begun <= number
