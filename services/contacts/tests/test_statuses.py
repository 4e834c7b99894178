import asyncio
from itertools import permutations

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1 import events_pb2
from flownurture.sending.v1.messages_pb2 import (
    SUPPRESSION_REASON_COMPLAINT,
    SUPPRESSION_REASON_HARD_BOUNCE,
    SUPPRESSION_REASON_MANUAL,
    SUPPRESSION_REASON_UNSUBSCRIBE,
    SuppressionReason,
)
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress, SuppressionsLifted
from services.contacts.contacts import create_contact
from services.contacts.tests.tenant import Tenant
from services.contacts.upserts import Upsert

ADA = "ada@example.com"
REASONS = {
    SUPPRESSION_REASON_HARD_BOUNCE: pb.CONTACT_STATUS_BOUNCED,
    SUPPRESSION_REASON_UNSUBSCRIBE: pb.CONTACT_STATUS_UNSUBSCRIBED,
    SUPPRESSION_REASON_COMPLAINT: pb.CONTACT_STATUS_COMPLAINED,
}


def about(email: str, reason: "SuppressionReason.ValueType") -> SuppressedAddress:
    return SuppressedAddress(digest=EmailAddress.parse(email).digest, reason=reason)


async def status(tenant: Tenant, email: str = ADA) -> int:
    return (await tenant.everybody())[email].status


@pytest.mark.parametrize(
    ("reason", "shown"), [*REASONS.items(), (SUPPRESSION_REASON_MANUAL, pb.CONTACT_STATUS_SUBSCRIBED)]
)
async def test_a_suppressed_address_shows_in_the_contacts_status(
    tenant: Tenant, reason: "SuppressionReason.ValueType", shown: int
) -> None:
    await tenant.add(ADA)
    await tenant.suppress(ADA.upper(), reason)
    assert await status(tenant) == shown


@pytest.mark.parametrize("order", list(permutations(REASONS)))
async def test_the_gravest_of_several_reasons_shows_and_lifting_one_leaves_the_others(
    tenant: Tenant, order: tuple["SuppressionReason.ValueType", ...]
) -> None:
    await tenant.add(ADA)
    for reason in order:
        await tenant.suppress(ADA, reason)
    assert await status(tenant) == pb.CONTACT_STATUS_COMPLAINED
    left = set(REASONS)
    for reason in order:
        await tenant.lift(ADA, reason)
        left.remove(reason)
        expected = [REASONS[gravest] for gravest in reversed(REASONS) if gravest in left]
        assert await status(tenant) == (expected or [pb.CONTACT_STATUS_SUBSCRIBED])[0]


async def test_a_change_of_status_is_told_once(tenant: Tenant) -> None:
    ada = await tenant.add(ADA)
    await tenant.suppress(ADA, SUPPRESSION_REASON_COMPLAINT)
    await tenant.suppress(ADA, SUPPRESSION_REASON_HARD_BOUNCE)
    await tenant.suppress("nobody@example.com", SUPPRESSION_REASON_COMPLAINT)
    created, *changes = await tenant.published()
    (change,) = changes
    assert isinstance(created, events_pb2.ContactsCreated)
    assert [(one.id, one.status) for one in change.contacts] == [(ada.id, pb.CONTACT_STATUS_COMPLAINED)]


async def test_one_event_about_many_addresses_changes_them_all(tenant: Tenant) -> None:
    emails = [f"r{number}@example.com" for number in range(5)]
    for email in emails:
        await tenant.add(email)
    addresses = [about(email, SUPPRESSION_REASON_UNSUBSCRIBE) for email in [*emails, *emails]]
    await tenant.hear(AddressesSuppressed(addresses=addresses))
    everybody = await tenant.everybody()
    assert {everybody[email].status for email in emails} == {pb.CONTACT_STATUS_UNSUBSCRIBED}


async def test_an_event_that_is_delivered_again_changes_nothing(tenant: Tenant) -> None:
    await tenant.add(ADA)
    event, event_id = AddressesSuppressed(addresses=[about(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)]), new_id()
    await tenant.hear(event, event_id)
    await tenant.lift(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.hear(event, event_id)
    assert await status(tenant) == pb.CONTACT_STATUS_SUBSCRIBED


async def test_of_two_events_the_later_holds_in_whatever_order_they_come(tenant: Tenant) -> None:
    await tenant.add(ADA)
    earlier, later = new_id(), new_id()
    await tenant.hear(SuppressionsLifted(addresses=[about(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)]), later)
    await tenant.hear(AddressesSuppressed(addresses=[about(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)]), earlier)
    assert await status(tenant) == pb.CONTACT_STATUS_SUBSCRIBED


async def test_a_contact_created_after_the_suppression_is_born_with_its_status(tenant: Tenant) -> None:
    await tenant.suppress(ADA, SUPPRESSION_REASON_HARD_BOUNCE)
    assert (await tenant.add(ADA)).status == pb.CONTACT_STATUS_BOUNCED


async def test_deleting_and_creating_a_contact_again_does_not_subscribe_it(tenant: Tenant) -> None:
    ada = await tenant.add(ADA)
    await tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant(pb.DeleteContactRequest(contact_id=ada.id))
    assert (await tenant.add(ADA)).status == pb.CONTACT_STATUS_UNSUBSCRIBED


async def test_a_suppression_waits_for_a_contact_that_is_just_being_created(
    tenant: Tenant, database: Database
) -> None:
    async with database.tenant_transaction(tenant.context) as session:
        await create_contact(session, Upsert(EmailAddress.parse(ADA)))
        suppression = asyncio.create_task(tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE))
        waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        await until(lambda: session.scalar(waiting))
        assert not suppression.done()
    await suppression
    assert await status(tenant) == pb.CONTACT_STATUS_UNSUBSCRIBED


async def test_an_import_subscribes_nobody_who_opted_out(tenant: Tenant) -> None:
    await tenant.add(ADA, first_name="Ada")
    await tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.suppress("eve@example.com", SUPPRESSION_REASON_COMPLAINT)
    await tenant.import_file(
        b"email,first name\nada@example.com,Augusta\neve@example.com,Eve\nkim@example.com,Kim\n"
    )
    everybody = await tenant.everybody()
    assert everybody[ADA].first_name == "Augusta"
    assert everybody[ADA].status == pb.CONTACT_STATUS_UNSUBSCRIBED
    assert everybody["eve@example.com"].status == pb.CONTACT_STATUS_COMPLAINED
    assert everybody["kim@example.com"].status == pb.CONTACT_STATUS_SUBSCRIBED


async def test_a_refusal_follows_the_contact_to_another_address_and_a_bounce_does_not(tenant: Tenant) -> None:
    ada, eve = await tenant.add(ADA), await tenant.add("eve@example.com")
    await tenant.suppress(ADA, SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.suppress("eve@example.com", SUPPRESSION_REASON_HARD_BOUNCE)
    moved = await tenant(pb.UpdateContactRequest(contact_id=ada.id, email="ada@example.org"))
    assert moved.status == pb.CONTACT_STATUS_UNSUBSCRIBED
    moved = await tenant(pb.UpdateContactRequest(contact_id=eve.id, email="eve@example.org"))
    assert moved.status == pb.CONTACT_STATUS_SUBSCRIBED


async def test_another_organizations_suppression_changes_nothing_here(
    tenant: Tenant, stranger: Tenant
) -> None:
    await tenant.add(ADA)
    await stranger.suppress(ADA, SUPPRESSION_REASON_COMPLAINT)
    assert await status(tenant) == pb.CONTACT_STATUS_SUBSCRIBED
    assert (await stranger.add(ADA)).status == pb.CONTACT_STATUS_COMPLAINED
