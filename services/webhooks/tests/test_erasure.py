"""Of whoever is erased nothing is kept and nothing told, whenever it comes: before, while, or long after."""

import asyncio
from uuid import UUID

from sqlalchemy import text

from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.contacts.v1.contacts_pb2 import Contact
from flownurture.contacts.v1.events_pb2 import (
    ContactsCreated,
    ContactsDeleted,
    ContactsUpdated,
    FormSubmitted,
)
from flownurture.delivery.v1.events_pb2 import MessageOutcome, MessagesSettled
from flownurture.sending.v1.events_pb2 import EmailsClicked, Engagement
from flownurture.sending.v1.messages_pb2 import MESSAGE_STATUS_BOUNCED
from flownurture.workflows.v1.events_pb2 import CallEndpoints, EndpointCall
from services.webhooks.endpoints import delete_endpoint
from services.webhooks.fan_out import fan_out
from services.webhooks.tests.house import House
from services.webhooks.tests.receiver import Post, Receiver, answering

_SOMEBODY_WAITS = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
)


def person(contact_id: str) -> Contact:
    return Contact(id=contact_id, email="reader@example.test")


async def test_nothing_that_comes_late_is_kept_or_told_of_whoever_is_erased(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url)
    erased, other = str(new_id()), str(new_id())
    await webhooks.tell(ContactsDeleted(contact_ids=[erased]))
    for late in (
        ContactsCreated(contacts=[person(erased)]),
        ContactsUpdated(contacts=[person(erased), person(other)]),
        FormSubmitted(contact=person(erased), form_id=str(new_id()), submission_id=str(new_id())),
        EmailsClicked(engagements=[Engagement(contact_id=erased, url="https://example.test/reader")]),
        MessagesSettled(
            outcomes=[
                MessageOutcome(
                    contact_id=erased, status=MESSAGE_STATUS_BOUNCED, smtp_reply="550 no reader@example.test"
                )
            ]
        ),
        CallEndpoints(
            calls=[EndpointCall(effect_id=new_id().bytes, endpoint_id=str(endpoint_id), contact_id=erased)]
        ),
    ):
        await webhooks.tell(late)
    await receiver.wait_for(2)
    await webhooks.dispatcher.settled()
    assert sorted(post.event["type"] for post in receiver.posts) == ["contact.deleted", "contact.updated"]
    assert {event.contact_id for event in await webhooks.events() if event.type != "contact.deleted"} == {
        UUID(other)
    }
    assert len(await webhooks.deliveries()) == 2


async def test_an_answer_that_comes_after_somebody_is_erased_is_not_kept(
    webhooks: House, receiver: Receiver
) -> None:
    erased = asyncio.Event()

    async def answer_late(post: Post) -> bytes:
        if post.event["type"] != "contact.deleted":
            await erased.wait()
        return await answering("500 No", body=b"no reader@example.test here")(post)

    receiver.answer = answer_late
    await webhooks.endpoint(receiver.url)
    contact_id = str(new_id())
    await webhooks.tell(ContactsUpdated(contacts=[person(contact_id)]))
    await receiver.wait_for(1)
    await webhooks.tell(ContactsDeleted(contact_ids=[contact_id]))
    await receiver.wait_for(2)
    erased.set()
    await webhooks.dispatcher.settled()
    answers = {attempt.delivery_id: attempt.response_body for attempt in await webhooks.attempts()}
    assert {delivery.event_type: answers[delivery.id] for delivery in await webhooks.deliveries()} == {
        "contact.updated": "",
        "contact.deleted": "no reader@example.test here",
    }


async def test_what_an_endpoint_answered_that_is_deleted_by_now_is_forgotten_too(
    webhooks: House, receiver: Receiver
) -> None:
    receiver.answer = answering("500 No", body=b"no reader@example.test here")
    endpoint_id = await webhooks.endpoint(receiver.url)
    contact_id = str(new_id())
    await webhooks.tell(ContactsUpdated(contacts=[person(contact_id)]))
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        await delete_endpoint(session, endpoint_id)
    await webhooks.tell(ContactsDeleted(contact_ids=[contact_id]))
    assert [attempt.response_body for attempt in await webhooks.attempts()] == [""]


async def test_another_organization_keeps_what_it_is_told_of_the_same_id(
    webhooks: House, receiver: Receiver
) -> None:
    contact_id = str(new_id())
    await webhooks.tell(ContactsDeleted(contact_ids=[contact_id]))
    webhooks.organization_id = UUID(int=new_id().int)
    await webhooks.endpoint(receiver.url)
    await webhooks.tell(ContactsUpdated(contacts=[person(contact_id)]))
    await receiver.wait_for(1)


async def test_what_is_being_kept_while_somebody_is_erased_is_forgotten(
    webhooks: House, receiver: Receiver
) -> None:
    await webhooks.endpoint(receiver.url, enabled=False)
    contact_id = str(new_id())
    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        await fan_out(session, ContactsUpdated(contacts=[person(contact_id)]), new_id())
        erasure = asyncio.create_task(webhooks.tell(ContactsDeleted(contact_ids=[contact_id])))

        async def waits_or_is_through() -> bool:
            return erasure.done() or bool(await session.scalar(_SOMEBODY_WAITS))

        await until(waits_or_is_through)
    await erasure
    assert [event.type for event in await webhooks.events()] == ["contact.deleted"]
