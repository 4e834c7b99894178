from collections.abc import AsyncIterator, Callable

import pytest

from chassis.errors import NotFound, PermissionDenied
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import audience_pb2 as pb
from flownurture.contacts.v1 import contacts_pb2
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_UNSUBSCRIBE
from services.contacts.tests.tenant import Tenant


@pytest.fixture
async def sending(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    """The sending process, on behalf of the tenant's organization."""
    async with peer_as("sending") as peer:
        yield tenant.called_by(peer)


async def test_recipients_come_once_each_by_ascending_id(tenant: Tenant, sending: Tenant) -> None:
    readers, buyers, empty = [await tenant.add_list() for _ in range(3)]
    memberships = [
        [readers.id],
        [buyers.id],
        [],
        [readers.id, buyers.id],
        [buyers.id],
        [readers.id],
        [readers.id],
    ]
    contacts = [
        await tenant.add(f"r{number}@example.com", first_name="R", last_name=str(number), list_ids=list_ids)
        for number, list_ids in enumerate(memberships)
    ]
    list_ids = [readers.id, buyers.id, empty.id, readers.id]
    for size in (1, 2, 3, 6, 1000):
        seen: list[pb.Recipient] = []
        last = False
        while not last:
            page = await sending(
                pb.ListRecipientsRequest(
                    list_ids=list_ids, page_size=size, after_contact_id=seen[-1].contact_id if seen else ""
                )
            )
            seen += page.recipients
            last = page.last_page
            assert last or len(page.recipients) == size
        assert [recipient.contact_id for recipient in seen] == [
            contact.id for contact in contacts if contact.list_ids
        ]
    assert seen[0] == pb.Recipient(
        contact_id=contacts[0].id, email="r0@example.com", first_name="R", last_name="0"
    )


async def test_who_opted_out_is_a_recipient_for_the_veto_to_show(tenant: Tenant, sending: Tenant) -> None:
    readers = await tenant.add_list()
    await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant.add("eve@example.com", list_ids=[readers.id])
    await tenant.suppress("ada@example.com", SUPPRESSION_REASON_UNSUBSCRIBE)
    page = await sending(pb.ListRecipientsRequest(list_ids=[readers.id], page_size=10))
    assert [recipient.email for recipient in page.recipients] == ["ada@example.com", "eve@example.com"]
    assert page.last_page


async def test_a_list_that_does_not_exist_is_named(tenant: Tenant, sending: Tenant, stranger: Tenant) -> None:
    readers, foreign, missing = await tenant.add_list(), await stranger.add_list(), str(new_id())
    for absent in (foreign.id, missing):
        with pytest.raises(NotFound, match=absent) as refused:
            await sending(pb.ListRecipientsRequest(list_ids=[readers.id, absent], page_size=10))
        assert readers.id not in refused.value.message


async def test_only_the_sending_process_may_ask(tenant: Tenant, peer_as: Callable[[str], Peer]) -> None:
    readers = await tenant.add_list()
    with pytest.raises(PermissionDenied):
        await tenant(pb.ListRecipientsRequest(list_ids=[readers.id], page_size=10))
    async with peer_as("sending") as peer:
        with pytest.raises(PermissionDenied):
            await tenant.called_by(peer)(contacts_pb2.CreateContactRequest(email="x@example.com"))
