"""From a fact to an endpoint: signed, once an event, tried again as published, every attempt written down."""

import asyncio
import hmac
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from flownurture.contacts.v1.events_pb2 import ContactsDeleted
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from flownurture.workflows.v1.events_pb2 import CallEndpoints, EndpointCall
from services.webhooks.endpoint_secrets import sealed_previous_secret
from services.webhooks.settings import WebhooksSettings
from services.webhooks.signing import key_of, new_secret
from services.webhooks.tests.house import AloneWith, House, house
from services.webhooks.tests.receiver import OK, Post, Receiver, answering


async def test_an_event_arrives_signed_and_its_attempt_is_written_down(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url, headers={"X-Key": "hunter22hunter22"})
    (contact_id,) = await webhooks.create_contacts()
    (post,) = await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    event = Webhook(webhooks.secrets[endpoint_id].reveal()).verify(post.body, post.headers)
    assert event["type"] == "contact.created"
    assert event["data"]["contact"]["id"] == contact_id
    assert event["organization_id"] == str(webhooks.organization_id)
    assert post.headers["webhook-id"] == event["id"]
    told = dict(part.split("=", 1) for part in post.headers["x-flownurture-signature"].split(","))
    signed = f"{event['id']}.{told['t']}.".encode() + post.body
    key = key_of(webhooks.secrets[endpoint_id])
    assert (told["id"], told["v1"]) == (event["id"], hmac.new(key, signed, "sha256").hexdigest())
    assert post.headers["x-key"] == "hunter22hunter22"
    (delivery,) = await webhooks.deliveries()
    (attempt,) = await webhooks.attempts()
    assert (delivery.status, delivery.attempts, delivery.last_status_code) == ("delivered", 1, 200)
    assert (attempt.delivery_id, attempt.number, attempt.outcome, attempt.status_code) == (
        delivery.id,
        1,
        "delivered",
        200,
    )
    assert (attempt.response_body, attempt.address) == ("ok", "127.0.0.1")


async def test_attempts_are_counted_by_outcome_and_the_first_of_a_delivery_by_how_soon_it_came(
    webhooks: House, receiver: Receiver
) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"flownurture_webhook_{name}", labels) or 0.0

    before = [counted("attempts_total", outcome="answered"), counted("attempts_total", outcome="delivered")]
    first = counted("delay_seconds_count")
    receiver.answer = answering("500 No")
    await webhooks.endpoint(receiver.url)
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    receiver.answer = answering("200 OK")
    await webhooks.next_attempt()
    assert counted("attempts_total", outcome="answered") == before[0] + 1
    assert counted("attempts_total", outcome="delivered") == before[1] + 1
    assert counted("delay_seconds_count") == first + 1


async def test_while_a_secret_is_rotated_a_receiver_may_know_either(
    webhooks: House, receiver: Receiver
) -> None:
    old = new_secret()
    endpoint_id = await webhooks.endpoint(receiver.url)
    async with webhooks.database.tenant_transaction(webhooks.context) as session:
        keyring = await webhooks.vault.keyring(session)
    sealed = sealed_previous_secret(keyring, endpoint_id, old)
    until = datetime.now(UTC) + timedelta(hours=1)
    await webhooks.change(endpoint_id, sealed_previous_secret=sealed, previous_secret_until=until)
    await webhooks.create_contacts()
    (post,) = await receiver.wait_for(1)
    for secret in (old, webhooks.secrets[endpoint_id]):
        Webhook(secret.reveal()).verify(post.body, post.headers)
    await webhooks.dispatcher.settled()
    await webhooks.change(endpoint_id, previous_secret_until=datetime.now(UTC) - timedelta(seconds=1))
    webhooks.dispatcher.wake(webhooks.organization_id, [endpoint_id])
    await webhooks.dispatcher.settled()
    await webhooks.create_contacts()
    _, later = await receiver.wait_for(2)
    with pytest.raises(WebhookVerificationError):
        Webhook(old.reveal()).verify(later.body, later.headers)
    await webhooks.dispatcher.settled()


async def test_a_fact_that_comes_again_is_told_once(webhooks: House, receiver: Receiver) -> None:
    await webhooks.endpoint(receiver.url)
    fact_id = new_id()
    for _ in range(3):
        await webhooks.tell(ContactsDeleted(contact_ids=[str(new_id())]), fact_id)
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    assert len(receiver.posts) == 1


async def test_an_endpoint_gets_what_it_asked_for_and_nothing_else(
    webhooks: House, receiver: Receiver
) -> None:
    await webhooks.endpoint(f"{receiver.url}/email", "email.*")
    await webhooks.endpoint(f"{receiver.url}/deleted", "contact.deleted")
    await webhooks.endpoint(f"{receiver.url}/off", "*", enabled=False)
    await webhooks.create_contacts()
    await webhooks.tell(ContactsDeleted(contact_ids=[str(new_id())]))
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    assert [post.path for post in receiver.posts] == ["/hooks/deleted"]


async def test_where_nobody_listens_nothing_is_kept(webhooks: House) -> None:
    await webhooks.create_contacts(3)
    assert await webhooks.events() == []
    assert await webhooks.deliveries() == []


async def test_what_fails_comes_again_under_its_id_until_it_is_given_up(
    webhooks: House, receiver: Receiver
) -> None:
    await webhooks.endpoint(receiver.url)
    receiver.answer = answering("500 No", body=b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw went wrong")
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    for _ in range(9):
        await webhooks.next_attempt()
    assert len(receiver.posts) == 8
    assert len({(post.headers["webhook-id"], post.body) for post in receiver.posts}) == 1
    (delivery,) = await webhooks.deliveries()
    assert (delivery.status, delivery.attempts, delivery.due_at) == ("failed", 8, None)
    written = await webhooks.attempts()
    assert [attempt.number for attempt in written] == list(range(1, 9))
    assert {attempt.response_body for attempt in written} == {"*** went wrong"}


async def test_what_succeeds_at_last_does_not_come_again(webhooks: House, receiver: Receiver) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url)
    receiver.answer = answering("503 Later")
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    assert (await webhooks.row(endpoint_id)).failing_since is not None
    receiver.answer = answering("204 Thanks")
    await webhooks.next_attempt()
    await webhooks.next_attempt()
    assert len(receiver.posts) == 2
    (delivery,) = await webhooks.deliveries()
    assert (delivery.status, delivery.attempts) == ("delivered", 2)
    assert (await webhooks.row(endpoint_id)).failing_since is None


async def test_an_endpoint_that_asks_to_wait_gets_nothing_meanwhile(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url)
    receiver.answer = answering("429 Slow down", "Retry-After: 3600\r\n")
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    row = await webhooks.row(endpoint_id)
    assert 3_500 < (row.paused_until - (await webhooks.attempts())[0].attempted_at).total_seconds() < 3_700
    await webhooks.create_contacts()
    await webhooks.dispatcher.settled()
    assert len(receiver.posts) == 1
    receiver.answer = answering("200 OK")
    await webhooks.next_attempt()
    assert {delivery.status for delivery in await webhooks.deliveries()} == {"delivered"}


async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_that_is_told(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url)
    receiver.answer = answering("410 Gone")
    await webhooks.create_contacts(2)
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    row = await webhooks.row(endpoint_id)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    assert [event.reason for event in await webhooks.published(WebhookEndpointDisabled)] == ["gone"]


async def test_an_endpoint_is_disabled_when_nothing_went_well_for_five_days(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(receiver.url)
    receiver.answer = answering("500 No")
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    since = (await webhooks.row(endpoint_id)).failing_since
    await webhooks.change(endpoint_id, failing_since=since.replace(year=since.year - 1))
    await webhooks.next_attempt()
    row = await webhooks.row(endpoint_id)
    assert (row.enabled, row.disabled_reason) == (False, "failing")
    assert [event.endpoint_id for event in await webhooks.published(WebhookEndpointDisabled)] == [
        str(endpoint_id)
    ]
    await webhooks.create_contacts()
    await webhooks.next_attempt()
    assert len(receiver.posts) == 2


async def test_a_slow_endpoint_delays_no_other(webhooks: House, receiver: Receiver) -> None:
    hanging: list[Post] = []

    async def hang(post: Post) -> bytes:
        if post.path.endswith("/slow"):
            hanging.append(post)
            await let_go.wait()
        return OK

    let_go = asyncio.Event()
    receiver.answer = hang
    for _ in range(5):
        await webhooks.endpoint(f"{receiver.url}/slow")
    await webhooks.endpoint(f"{receiver.url}/quick")
    await webhooks.create_contacts(50)
    await receiver.wait_for(50 + 5 * 4)
    assert Counter(post.path for post in receiver.posts)["/hooks/quick"] == 50
    assert 5 <= len(hanging) <= 5 * 4
    let_go.set()
    await webhooks.dispatcher.settled()
    assert Counter(delivery.status for delivery in await webhooks.deliveries()) == {"delivered": 300}


async def test_what_another_process_wrote_is_found_while_an_endpoint_has_one_wait(
    settings: WebhooksSettings, database: Database, scheduler: RoleDatabase, receiver: Receiver
) -> None:
    async def hang_once(post: Post) -> bytes:
        if post is receiver.posts[0]:
            await let_go.wait()
        return OK

    let_go = asyncio.Event()
    receiver.answer = hang_once
    endpoint_id = new_id()
    async with house(settings, database, scheduler, AloneWith(endpoint_id)) as webhooks:
        await webhooks.endpoint(receiver.url, endpoint_id=endpoint_id)
        await webhooks.create_contacts()
        await receiver.wait_for(1)
        await webhooks.quietly().create_contacts()
        await webhooks.dispatcher.look()
        await receiver.wait_for(2)
        let_go.set()
        await webhooks.dispatcher.settled()
        assert [delivery.attempts for delivery in await webhooks.deliveries()] == [1, 1]


async def test_what_does_not_fit_into_memory_waits_in_the_database(
    webhooks: House, receiver: Receiver
) -> None:
    await webhooks.endpoint(receiver.url)
    for _ in range(3):
        await webhooks.create_contacts(400)
    await receiver.wait_for(1_200)
    await webhooks.dispatcher.settled()
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == len(receiver.posts) == 1_200
    assert Counter(delivery.status for delivery in await webhooks.deliveries()) == {"delivered": 1_200}
    assert len(await webhooks.attempts()) == 1_200


async def test_whoever_is_erased_is_told_of_no_more_and_forgotten(
    webhooks: House, receiver: Receiver
) -> None:
    await webhooks.endpoint(receiver.url)
    receiver.answer = answering("500 No", body=b"no reader0@example.test here")
    (contact_id,) = await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    receiver.answer = answering("200 OK")
    await webhooks.tell(ContactsDeleted(contact_ids=[contact_id]))
    await webhooks.next_attempt()
    assert [post.event["type"] for post in receiver.posts] == ["contact.created", "contact.deleted"]
    assert [event.type for event in await webhooks.events()] == ["contact.deleted"]
    assert sorted(delivery.status for delivery in await webhooks.deliveries()) == ["cancelled", "delivered"]
    assert not any("example.test" in attempt.response_body for attempt in await webhooks.attempts())


async def test_a_step_of_a_workflow_calls_its_endpoint_once_and_no_other(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = await webhooks.endpoint(f"{receiver.url}/called", "email.sent")
    await webhooks.endpoint(f"{receiver.url}/other", "*")
    call = EndpointCall(
        effect_id=new_id().bytes,
        endpoint_id=str(endpoint_id),
        workflow_id=str(new_id()),
        enrollment_id=str(new_id()),
        step_id="tell",
        contact_id=str(new_id()),
    )
    stranger = EndpointCall(effect_id=new_id().bytes, endpoint_id=str(new_id()), contact_id=str(new_id()))
    for _ in range(2):
        await webhooks.tell(CallEndpoints(calls=[call, stranger]))
    (post,) = await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
    assert [post.path for post in receiver.posts] == ["/hooks/called"]
    assert (post.event["type"], post.event["data"]["step_id"]) == ("workflow.endpoint_called", "tell")


async def test_another_organization_is_told_nothing(webhooks: House, receiver: Receiver) -> None:
    await webhooks.endpoint(receiver.url)
    own = webhooks.organization_id
    webhooks.organization_id = UUID(int=new_id().int)
    await webhooks.create_contacts()
    assert await webhooks.deliveries() == []
    webhooks.organization_id = own
    assert await webhooks.deliveries() == []
    assert receiver.posts == []


async def test_an_address_that_may_not_be_reached_is_refused_at_each_attempt(webhooks: House) -> None:
    await webhooks.endpoint("http://10.0.0.1:8080/")
    await webhooks.create_contacts()
    await webhooks.dispatcher.settled()
    await webhooks.next_attempt()
    assert [attempt.outcome for attempt in await webhooks.attempts()] == ["refused", "refused"]


async def test_an_endpoint_that_was_looked_for_before_it_was_committed_is_told_at_once(
    webhooks: House, receiver: Receiver
) -> None:
    endpoint_id = new_id()
    webhooks.dispatcher.wake(webhooks.organization_id, [endpoint_id])
    await webhooks.dispatcher.settled()
    await webhooks.endpoint(receiver.url, endpoint_id=endpoint_id)
    await webhooks.create_contacts()
    await receiver.wait_for(1)
    await webhooks.dispatcher.settled()
