"""Batches whose orders come at the same time are decided on together, and each as if it had been alone."""

import asyncio
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from chassis.database import Database
from flownurture.suppression.v1.events_pb2 import SendsApproved, SendsVetoed
from services.sending.suppression.deciding import deciding_together
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_veto import suppression_of


async def requested(tenant: Tenant, *people: str) -> list[UUID]:
    """A campaign to each of them, whose batches wait for a decision."""
    for person in people:
        await tenant.launch(person)
    await tenant.release()
    return [
        row.id for row in await tenant.rows("SELECT id FROM batches WHERE status = 'requested' ORDER BY id")
    ]


async def test_what_comes_together_is_decided_in_few_transactions(tenant: Tenant, database: Database) -> None:
    await tenant(suppression_of("p3@example.com"))
    batches = await requested(tenant, *(f"p{number}@example.com" for number in range(18)))
    gathering = deciding_together(database)
    await asyncio.gather(*(gathering.work_on(tenant.context, batch, 250) for batch in batches))
    approved = await tenant.published(SendsApproved)
    (vetoed,) = await tenant.published(SendsVetoed)
    vetoed_row, *_ = await tenant.rows("SELECT id, campaign_id FROM messages WHERE status = 'vetoed'")
    assert len(approved) == 17
    assert (vetoed.campaign_id, vetoed.messages[0].message_id) == (
        str(vetoed_row.campaign_id),
        str(vetoed_row.id),
    )
    transactions = await tenant.rows("SELECT DISTINCT transaction::text FROM decisions")
    assert len(transactions) == 4
    assert len(await tenant.rows("SELECT FROM decisions")) == 18


async def test_an_organizations_batches_never_wait_for_anothers(
    tenant: Tenant, stranger: Tenant, database: Database
) -> None:
    (held,) = await requested(tenant, "p@example.com")
    (free,) = await requested(stranger, "p@example.com")
    gathering = deciding_together(database)
    async with database.tenant_transaction(tenant.context) as session:
        await session.driver.execute("SELECT FROM batches WHERE id = %s FOR UPDATE", [held])
        waits = asyncio.create_task(gathering.work_on(tenant.context, held, 250))
        await gathering.work_on(stranger.context, free, 250)
        assert not waits.done()
    await waits
    assert len(await tenant.published(SendsApproved)) == 1


async def test_a_batch_that_cannot_be_decided_on_fails_alone(tenant: Tenant, database: Database) -> None:
    batches = await requested(tenant, *(f"p{number}@example.com" for number in range(8)))
    await tenant(suppression_of("p5@example.com"))
    # What is vetoed cannot be given back to a plan from which nothing was taken.
    await tenant.rows("UPDATE email_usage SET emails = 0")
    gathering = deciding_together(database)
    answers = await asyncio.gather(
        *(gathering.work_on(tenant.context, batch, 250) for batch in batches), return_exceptions=True
    )
    assert [place for place, answer in enumerate(answers) if answer is not None] == [5]
    assert isinstance(answers[5], IntegrityError)
    assert len(await tenant.published(SendsApproved)) == 7
    await tenant.rows("UPDATE email_usage SET emails = 1")
    await gathering.work_on(tenant.context, batches[5], 250)
    assert len(await tenant.published(SendsVetoed)) == 1
