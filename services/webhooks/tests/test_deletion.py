"""Nothing waits for an endpoint that is gone, also of what is told while it is deleted."""

import asyncio

from sqlalchemy import text

from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.contacts.v1.contacts_pb2 import Contact
from flownurture.contacts.v1.events_pb2 import ContactsUpdated
from services.webhooks.endpoints import delete_endpoint
from services.webhooks.fan_out import fan_out
from services.webhooks.tests.house import House

_SOMEBODY_WAITS = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
)


async def test_what_is_told_to_an_endpoint_while_it_is_deleted_is_cancelled_with_it(webhooks: House) -> None:
    endpoint_id = await webhooks.endpoint("https://hooks.example.com/in")

    async def delete() -> None:
        async with webhooks.database.tenant_transaction(webhooks.context) as session:
            await delete_endpoint(session, endpoint_id)

    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        await fan_out(session, ContactsUpdated(contacts=[Contact(id=str(new_id()))]), new_id())
        deletion = asyncio.create_task(delete())

        async def waits_or_is_through() -> bool:
            return deletion.done() or bool(await session.scalar(_SOMEBODY_WAITS))

        await until(waits_or_is_through)
    await deletion
    assert [delivery.status for delivery in await webhooks.deliveries()] == ["cancelled"]


async def test_what_is_told_once_an_endpoint_is_deleted_is_not_written_for_it(webhooks: House) -> None:
    endpoint_id = await webhooks.endpoint("https://hooks.example.com/in")

    async def tell() -> None:
        async with webhooks.database.tenant_transaction(webhooks.context) as session:
            await fan_out(session, ContactsUpdated(contacts=[Contact(id=str(new_id()))]), new_id())

    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        await delete_endpoint(session, endpoint_id)
        telling = asyncio.create_task(tell())

        async def waits_or_is_through() -> bool:
            return telling.done() or bool(await session.scalar(_SOMEBODY_WAITS))

        await until(waits_or_is_through)
    await telling
    assert not await webhooks.deliveries()
