"""What one organization has does not exist for another."""

import pytest
from google.protobuf.message import Message

from chassis.errors import NotFound
from flownurture.contacts.v1 import contacts_pb2, imports_pb2, lists_pb2
from services.contacts.tests.tenant import Tenant


@pytest.fixture
async def theirs(stranger: Tenant) -> dict[str, str]:
    """The ids of what the other organization has."""
    readers = await stranger.add_list()
    contact = await stranger.add("ada@example.com", first_name="Ada", list_ids=[readers.id])
    imported = await stranger.import_file(b"email\neve@example.com\n", list_id=readers.id)
    return {"contact_id": contact.id, "list_id": readers.id, "import_id": imported.id}


REQUESTS = [
    contacts_pb2.GetContactRequest(),
    contacts_pb2.UpdateContactRequest(first_name="Mallory"),
    contacts_pb2.UpdateContactRequest(email="mallory@example.com"),
    contacts_pb2.DeleteContactRequest(),
    lists_pb2.GetListRequest(),
    lists_pb2.UpdateListRequest(name="Mallory"),
    lists_pb2.DeleteListRequest(),
    lists_pb2.ListListContactsRequest(),
    lists_pb2.RemoveListContactRequest(),
    imports_pb2.GetImportRequest(),
]


@pytest.mark.parametrize("request_with", REQUESTS, ids=lambda request: request.DESCRIPTOR.name)
async def test_ids_of_another_organization_are_not_found_and_nothing_changes(
    tenant: Tenant, stranger: Tenant, theirs: dict[str, str], request_with: Message
) -> None:
    fields = {name: theirs[name] for name in theirs if name in request_with.DESCRIPTOR.fields_by_name}
    request = type(request_with)(**fields)
    request.MergeFrom(request_with)
    before = await stranger.everybody()
    with pytest.raises(NotFound):
        await tenant(request)
    assert await stranger.everybody() == before
    assert (await stranger(lists_pb2.GetListRequest(list_id=theirs["list_id"]))).name == "Readers"


async def test_ids_of_another_organization_are_not_found_inside_requests_either(
    tenant: Tenant, stranger: Tenant, theirs: dict[str, str]
) -> None:
    mine, contact = await tenant.add_list(), await tenant.add("mallory@example.com")
    for request in (
        contacts_pb2.CreateContactRequest(email="new@example.com", list_ids=[mine.id, theirs["list_id"]]),
        lists_pb2.AddListContactsRequest(list_id=mine.id, contact_ids=[contact.id, theirs["contact_id"]]),
        lists_pb2.AddListContactsRequest(list_id=theirs["list_id"], contact_ids=[contact.id]),
        lists_pb2.RemoveListContactRequest(list_id=theirs["list_id"], contact_id=contact.id),
        lists_pb2.RemoveListContactRequest(list_id=mine.id, contact_id=theirs["contact_id"]),
    ):
        with pytest.raises(NotFound):
            await tenant(request)
    with pytest.raises(NotFound):
        await tenant.upload(b"email\nnew@example.com\n", list_id=theirs["list_id"])
    assert list(await tenant.everybody()) == ["mallory@example.com"]
    assert (await tenant(lists_pb2.GetListRequest(list_id=mine.id))).contact_count == 0
    assert (await stranger(lists_pb2.GetListRequest(list_id=theirs["list_id"]))).contact_count == 2


async def test_lists_of_another_organization_are_empty(tenant: Tenant, theirs: dict[str, str]) -> None:
    assert (await tenant(contacts_pb2.ListContactsRequest())).contacts[:] == []
    assert (await tenant(contacts_pb2.ListContactsRequest(email="ada@example.com"))).contacts[:] == []
    assert (await tenant(lists_pb2.ListListsRequest())).lists[:] == []
    assert (await tenant(imports_pb2.ListImportsRequest())).imports[:] == []


async def test_two_organizations_have_the_same_address_each_for_itself(
    tenant: Tenant, stranger: Tenant, theirs: dict[str, str]
) -> None:
    mine = await tenant.add("ada@example.com", first_name="Augusta")
    assert mine.id != theirs["contact_id"]
    await tenant.import_file(b"email,first name\nada@example.com,A.\neve@example.com,E.\n")
    assert (await stranger.everybody())["ada@example.com"].first_name == "Ada"
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=mine.id))
    assert set(await stranger.everybody()) == {"ada@example.com", "eve@example.com"}


async def test_an_idempotency_key_of_another_organization_is_another_key(
    tenant: Tenant, stranger: Tenant
) -> None:
    request = lists_pb2.CreateListRequest(name="Readers")
    assert (await tenant(request, key="k1")).id != (await stranger(request, key="k1")).id
    file = b"email\nada@example.com\n"
    assert (await tenant.upload(file, key="k2")).id != (await stranger.upload(file, key="k2")).id
