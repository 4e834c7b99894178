"""The outbox: events and the rows they tell about commit together or not at all."""

import psycopg
import pytest
from sqlalchemy import text

from chassis import outbox, tracing
from chassis.context import RequestContext
from chassis.database import Database
from chassis.tests.probe import Probe
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1.events_pb2 import OrganizationCreated

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
INSERT = text("INSERT INTO things (name) VALUES (:name)")


async def publish(database: Database, context: RequestContext, *names: str, fail: bool = False) -> None:
    async with database.tenant_transaction(context) as session:
        for name in names:
            await session.execute(INSERT, {"name": name})
            session.publish(OrganizationCreated(name=name))
        if fail:
            raise LookupError


def written(probe: Probe, context: RequestContext) -> list[tuple[str, str, Envelope]]:
    rows = probe.look(
        "SELECT domain, subject, envelope FROM outbox WHERE organization_id = %s ORDER BY id",
        context.organization,
    )
    return [(domain, subject, Envelope.FromString(envelope)) for domain, subject, envelope in rows]


async def test_rows_and_their_events_commit_together(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    await publish(database, context, "one", "two")
    assert [
        OrganizationCreated.FromString(envelope.payload).name for _, _, envelope in written(probe, context)
    ] == ["one", "two"]


async def test_a_transaction_that_fails_publishes_nothing(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    with pytest.raises(LookupError):
        await publish(database, context, "one", fail=True)
    assert written(probe, context) == []


async def test_the_relay_is_woken_by_a_commit_and_by_nothing_else(
    database: Database, context: RequestContext
) -> None:
    database.outbox_written.clear()
    with pytest.raises(LookupError):
        await publish(database, context, "one", fail=True)
    async with database.tenant_transaction(context) as session:
        await session.execute(INSERT, {"name": "silent"})
    assert not database.outbox_written.is_set()
    await publish(database, context, "one")
    assert database.outbox_written.is_set()


async def test_an_envelope_says_whose_what_when_and_of_which_trace(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    with tracing.span("test", TRACE):
        await publish(database, context, "one")
    [(domain, subject, envelope)] = written(probe, context)
    assert (domain, subject) == ("identity", "flownurture.identity.organization_created")
    assert envelope.organization_id == str(context.organization)
    assert envelope.type == "flownurture.identity.v1.OrganizationCreated"
    assert envelope.traceparent.split("-")[1] == TRACE.split("-")[1]
    assert envelope.occurred_at.seconds > 1_700_000_000


async def test_each_event_belongs_to_the_domain_of_its_subject(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    async with database.tenant_transaction(context) as session:
        session.publish(OrganizationCreated())
        session.publish(ContactsDeleted())
    assert [domain for domain, _, _ in written(probe, context)] == ["identity", "contacts"]


async def test_a_message_that_is_no_event_is_refused(database: Database, context: RequestContext) -> None:
    with pytest.raises(LookupError, match="is no event"):
        async with database.tenant_transaction(context) as session:
            session.publish(Envelope())


async def test_an_event_too_large_to_publish_is_refused_with_what_it_tells_about(
    database: Database, context: RequestContext, probe: Probe
) -> None:
    async def tell_too_much() -> None:
        async with database.tenant_transaction(context) as session:
            await session.execute(INSERT, {"name": "told about"})
            session.publish(OrganizationCreated(name="x" * outbox.MOST_BYTES))

    with pytest.raises(ValueError, match="too large"):
        await tell_too_much()
    assert probe.look("SELECT FROM things WHERE organization_id = %s", context.organization) == []


async def test_a_reader_publishes_nothing(database: Database, context: RequestContext) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with database.tenant_transaction(context, read_only=True) as session:
            session.publish(OrganizationCreated())
