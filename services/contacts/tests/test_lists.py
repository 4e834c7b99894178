import pytest

from chassis.errors import InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1 import events_pb2
from flownurture.contacts.v1 import lists_pb2 as pb
from services.contacts.tests.tenant import Tenant


async def members(tenant: Tenant, list_id: str) -> list[str]:
    page = await tenant(pb.ListListContactsRequest(list_id=list_id))
    return [contact.email for contact in page.contacts]


async def test_a_list_is_created_read_changed_and_deleted(tenant: Tenant) -> None:
    created = await tenant(pb.CreateListRequest(name=" Readers ", description="Of the letter"))
    assert (created.name, created.description, created.contact_count) == ("Readers", "Of the letter", 0)
    assert await tenant(pb.GetListRequest(list_id=created.id)) == created
    changed = await tenant(pb.UpdateListRequest(list_id=created.id, name="Buyers"))
    assert (changed.name, changed.description) == ("Buyers", "Of the letter")
    changed = await tenant(pb.UpdateListRequest(list_id=created.id, description=""))
    assert (changed.name, changed.description) == ("Buyers", "")
    assert (await tenant(pb.ListListsRequest())).lists[:] == [changed]
    await tenant(pb.DeleteListRequest(list_id=created.id))
    assert (await tenant(pb.ListListsRequest())).lists[:] == []


async def test_a_list_needs_a_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest):
        await tenant(pb.CreateListRequest(name="  "))
    readers = await tenant.add_list()
    for name in ("", "\t"):
        with pytest.raises(InvalidRequest):
            await tenant(pb.UpdateListRequest(list_id=readers.id, name=name))


async def test_lists_are_paged_newest_first_with_their_counts(tenant: Tenant) -> None:
    created = [await tenant.add_list(f"List {number}") for number in range(3)]
    await tenant.add("ada@example.com", list_ids=[created[0].id, created[2].id])
    await tenant.add("eve@example.com", list_ids=[created[2].id])
    first = await tenant(pb.ListListsRequest(page_size=2))
    rest = await tenant(pb.ListListsRequest(page_size=2, page_token=first.next_page_token))
    found = [*first.lists, *rest.lists]
    assert [one.id for one in found] == [one.id for one in reversed(created)]
    assert [one.contact_count for one in found] == [2, 0, 1]
    assert not rest.next_page_token


async def test_contacts_added_twice_are_in_a_list_once(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    ada, eve = await tenant.add("ada@example.com"), await tenant.add("eve@example.com")
    added = await tenant(pb.AddListContactsRequest(list_id=readers.id, contact_ids=[ada.id, ada.id]))
    assert added.added == 1
    added = await tenant(pb.AddListContactsRequest(list_id=readers.id, contact_ids=[ada.id, eve.id]))
    assert added.added == 1
    assert await members(tenant, readers.id) == ["eve@example.com", "ada@example.com"]
    *_, change, joined = await tenant.published()
    assert [(told.id, list(told.list_ids)) for told in change.contacts] == [(eve.id, [readers.id])]
    assert (joined.list_id, list(joined.contact_ids)) == (readers.id, [eve.id])


async def test_adding_contacts_that_do_not_exist_names_them_and_adds_none(tenant: Tenant) -> None:
    readers, ada = await tenant.add_list(), await tenant.add("ada@example.com")
    missing = [str(new_id()) for _ in range(12)]
    with pytest.raises(NotFound, match=missing[0]) as refused:
        await tenant(pb.AddListContactsRequest(list_id=readers.id, contact_ids=[ada.id, *missing]))
    assert "and 2 more" in refused.value.message
    assert ada.id not in refused.value.message
    assert await members(tenant, readers.id) == []


async def test_a_contact_is_taken_out_of_one_list_alone(tenant: Tenant) -> None:
    readers, buyers = await tenant.add_list(), await tenant.add_list()
    ada = await tenant.add("ada@example.com", list_ids=[readers.id, buyers.id])
    await tenant(pb.RemoveListContactRequest(list_id=readers.id, contact_id=ada.id))
    assert await members(tenant, readers.id) == []
    assert await members(tenant, buyers.id) == ["ada@example.com"]
    (told,) = (await tenant.published())[-1].contacts
    assert list(told.list_ids) == [buyers.id]
    with pytest.raises(NotFound, match=ada.id):
        await tenant(pb.RemoveListContactRequest(list_id=readers.id, contact_id=ada.id))


async def test_a_deleted_list_leaves_its_contacts(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    ada = await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant(pb.DeleteListRequest(list_id=readers.id))
    assert list((await tenant.everybody())[ada.email].list_ids) == []
    for request in (
        pb.GetListRequest(list_id=readers.id),
        pb.UpdateListRequest(list_id=readers.id, name="Buyers"),
        pb.DeleteListRequest(list_id=readers.id),
        pb.AddListContactsRequest(list_id=readers.id, contact_ids=[ada.id]),
        pb.RemoveListContactRequest(list_id=readers.id, contact_id=ada.id),
        pb.ListListContactsRequest(list_id=readers.id),
    ):
        with pytest.raises(NotFound, match=readers.id):
            await tenant(request)


async def test_the_contacts_of_a_list_are_paged_newest_first(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    created = [(await tenant.add(f"r{number}@example.com", list_ids=[readers.id])).id for number in range(5)]
    await tenant.add("outside@example.com")
    seen, token = [], ""
    while True:
        page = await tenant(pb.ListListContactsRequest(list_id=readers.id, page_size=2, page_token=token))
        seen += [contact.id for contact in page.contacts]
        if not (token := page.next_page_token):
            break
    assert seen == created[::-1]


async def test_many_contacts_are_told_of_in_events_of_at_most_500(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    rows = "".join(f"r{number}@example.com\n" for number in range(1000))
    await tenant.import_file(f"email\n{rows}".encode())
    ids = [contact.id for contact in (await tenant.everybody()).values()]
    added = await tenant(pb.AddListContactsRequest(list_id=readers.id, contact_ids=ids))
    assert added.added == 1000
    told = [event for event in await tenant.published() if isinstance(event, events_pb2.ContactsUpdated)]
    assert [len(event.contacts) for event in told] == [500, 500]
    assert (await tenant(pb.GetListRequest(list_id=readers.id))).contact_count == 1000
