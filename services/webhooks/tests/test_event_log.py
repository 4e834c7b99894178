"""Facts are kept once, for their organization alone, and not for ever."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from chassis.consumer import Consumer
from chassis.context import RequestContext
from chassis.contract.events import subject_of
from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1.events_pb2 import CampaignLaunched
from services.webhooks import consumers as webhooks_consumers
from services.webhooks.event_log import Forgetting
from services.webhooks.settings import WebhooksSettings
from services.webhooks.tables import events


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> WebhooksSettings:
    environment = service_environment("webhooks")
    return WebhooksSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: WebhooksSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="webhooks") as database:
        yield database


@pytest.fixture
def reader(database: Database) -> Consumer:
    """The reader of campaigns, given its events by hand."""
    readers = webhooks_consumers.consumers(None, database)  # type: ignore[arg-type]
    return next(reader for reader in readers if reader.stream == "SENDING")


def launched(organization_id: UUID) -> Envelope:
    return Envelope(
        id=str(new_id()),
        organization_id=str(organization_id),
        type=CampaignLaunched.DESCRIPTOR.full_name,
        payload=CampaignLaunched(campaign_id=str(new_id()), name="Spring").SerializeToString(),
    )


async def logged(database: Database, organization_id: UUID) -> list[UUID]:
    context = RequestContext.of_process("webhooks", organization_id)
    async with database.tenant_transaction(context) as session:
        return list((await session.execute(select(events.c.id))).scalars())


async def test_a_fact_is_kept_once_however_often_it_is_delivered(
    database: Database, reader: Consumer
) -> None:
    organization = uuid4()
    envelope = launched(organization)
    for _ in range(3):
        await reader.handle(envelope.SerializeToString())
    assert await logged(database, organization) == [UUID(envelope.id)]


async def test_a_fact_is_seen_by_its_own_organization_alone(database: Database, reader: Consumer) -> None:
    mine, theirs = uuid4(), uuid4()
    await reader.handle(launched(mine).SerializeToString())
    assert len(await logged(database, mine)) == 1
    assert await logged(database, theirs) == []


async def test_a_fact_is_forgotten_after_a_month(
    database: Database, settings: WebhooksSettings, reader: Consumer
) -> None:
    organization = uuid4()
    old, new = launched(organization), launched(organization)
    await reader.handle(new.SerializeToString())
    context = RequestContext.of_process("webhooks", organization)
    async with database.tenant_transaction(context) as session:
        await session.execute(
            text(
                "INSERT INTO events (id, type, payload, received_at) VALUES (:id, 't', '', now() - interval '31 days')"
            ),
            {"id": UUID(old.id)},
        )
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        await Forgetting(scheduler).round()
    assert await logged(database, organization) == [UUID(new.id)]


def test_every_fact_has_its_reader() -> None:
    for stream, facts in webhooks_consumers.FACTS.items():
        for fact in facts:
            assert subject_of(fact).split(".")[1] == stream.lower()
