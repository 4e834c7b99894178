"""What a sync begins from is the newest known of each contact."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from chassis.consumer import Consumer
from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import new_id
from flownurture.contacts.v1.contacts_pb2 import Contact
from flownurture.contacts.v1.events_pb2 import ContactsCreated, ContactsDeleted, ContactsUpdated
from flownurture.events.v1.envelope_pb2 import Envelope
from services.integrations.consumers import contacts_consumer
from services.integrations.settings import IntegrationsSettings
from services.integrations.tables import contact_changes


@pytest.fixture(scope="session")
def settings(service_environment: Callable[[str], dict[str, str]]) -> IntegrationsSettings:
    environment = service_environment("integrations")
    return IntegrationsSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: IntegrationsSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="integrations") as database:
        yield database


@pytest.fixture
def reader(database: Database) -> Consumer:
    """The reader, given its events by hand."""
    return contacts_consumer(None, database)  # type: ignore[arg-type]


def envelope(organization_id: UUID, event: ContactsCreated | ContactsUpdated | ContactsDeleted) -> bytes:
    return Envelope(
        id=str(new_id()),
        organization_id=str(organization_id),
        type=event.DESCRIPTOR.full_name,
        payload=event.SerializeToString(),
    ).SerializeToString()


async def changes(database: Database, organization_id: UUID) -> dict[str, str]:
    context = RequestContext.of_process("integrations", organization_id)
    async with database.tenant_transaction(context) as session:
        rows = await session.execute(select(contact_changes.c.contact_id, contact_changes.c.kind))
        return {str(row.contact_id): row.kind for row in rows}


async def test_each_contact_stands_once_with_its_newest_change(database: Database, reader: Consumer) -> None:
    organization, ada, eve = uuid4(), str(new_id()), str(new_id())
    created = envelope(organization, ContactsCreated(contacts=[Contact(id=ada), Contact(id=eve)]))
    updated = envelope(organization, ContactsUpdated(contacts=[Contact(id=eve)]))
    deleted = envelope(organization, ContactsDeleted(contact_ids=[ada]))
    for data in (created, updated, deleted):
        await reader.handle(data)
    assert await changes(database, organization) == {ada: "deleted", eve: "upserted"}


async def test_an_older_event_that_comes_late_changes_nothing(database: Database, reader: Consumer) -> None:
    organization, ada = uuid4(), str(new_id())
    created = envelope(organization, ContactsCreated(contacts=[Contact(id=ada)]))
    deleted = envelope(organization, ContactsDeleted(contact_ids=[ada]))
    await reader.handle(deleted)
    await reader.handle(created)
    assert await changes(database, organization) == {ada: "deleted"}


async def test_another_organization_sees_none_of_it(database: Database, reader: Consumer) -> None:
    await reader.handle(envelope(uuid4(), ContactsCreated(contacts=[Contact(id=str(new_id()))])))
    assert await changes(database, uuid4()) == {}
