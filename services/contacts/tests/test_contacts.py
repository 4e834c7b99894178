from typing import Any

import pytest

from chassis.email_address import EmailAddress
from chassis.errors import Conflict, InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1 import events_pb2, lists_pb2
from services.contacts.tests.tenant import Tenant


async def test_a_contact_is_read_as_it_was_created(tenant: Tenant) -> None:
    readers, buyers = await tenant.add_list("Readers"), await tenant.add_list("Buyers")
    created = await tenant.add(
        "Ada@Example.com",
        first_name=" Ada ",
        last_name="Lovelace",
        list_ids=[buyers.id, readers.id, buyers.id],
    )
    assert (created.email, created.first_name, created.last_name) == ("Ada@example.com", "Ada", "Lovelace")
    assert created.status == pb.CONTACT_STATUS_SUBSCRIBED
    assert sorted(created.list_ids) == sorted([readers.id, buyers.id])
    assert await tenant(pb.GetContactRequest(contact_id=created.id)) == created
    told, *joined = await tenant.published()
    assert told == events_pb2.ContactsCreated(contacts=[created], source=pb.CONTACT_SOURCE_API)
    assert sorted(event.list_id for event in joined) == sorted([readers.id, buyers.id])
    assert all(list(event.contact_ids) == [created.id] for event in joined)


@pytest.mark.parametrize("again", ["ada@example.com", "ADA@EXAMPLE.com", "Ada@Example.COM"])
async def test_an_address_belongs_to_one_contact_however_it_is_written(tenant: Tenant, again: str) -> None:
    await tenant.add("ada@example.com")
    with pytest.raises(Conflict):
        await tenant.add(again)
    assert await tenant.count("contacts") == 1


async def test_the_same_person_by_dots_is_not_assumed(tenant: Tenant) -> None:
    await tenant.add("ada.l@example.com")
    await tenant.add("adal@example.com")
    assert await tenant.count("contacts") == 2


async def test_a_contact_in_a_list_that_does_not_exist_is_not_created(tenant: Tenant) -> None:
    existing, missing = await tenant.add_list(), str(new_id())
    with pytest.raises(NotFound, match=missing):
        await tenant.add("ada@example.com", list_ids=[existing.id, missing])
    assert await tenant.count("contacts") == 0
    assert await tenant.published() == []


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"email": ""}, "email"),
        ({"email": "ada"}, "email"),
        ({"email": "ada@example.com", "first_name": "x" * 201}, "first_name"),
        ({"email": "ada@example.com", "last_name": "a\0b"}, "last_name"),
        ({"email": "ada@example.com", "first_name": "Bcc:\nx@y.test"}, "first_name"),
        ({"email": "ada@example.com", "list_ids": ["x"]}, "list_ids[0]"),
    ],
)
async def test_a_field_that_is_wrong_is_named(tenant: Tenant, fields: dict[str, Any], at_fault: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant(pb.CreateContactRequest(**fields))
    assert [violation.field for violation in refused.value.violations] == [at_fault]


async def test_the_same_idempotency_key_creates_one_contact_and_answers_alike(tenant: Tenant) -> None:
    request = pb.CreateContactRequest(email="ada@example.com")
    assert await tenant(request, key="k1") == await tenant(request, key="k1")
    assert len(await tenant.published()) == 1


async def test_an_update_changes_what_is_present_alone(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com", first_name="Ada", last_name="Lovelace")
    updated = await tenant(pb.UpdateContactRequest(contact_id=ada.id, last_name=""))
    assert (updated.email, updated.first_name, updated.last_name) == ("ada@example.com", "Ada", "")
    assert updated.updated_at.ToNanoseconds() > ada.updated_at.ToNanoseconds()
    fields = events_pb2.ChangedFields(names=["last_name"])
    assert (await tenant.published())[-1] == events_pb2.ContactsUpdated(contacts=[updated], changed=[fields])
    assert await tenant(pb.UpdateContactRequest(contact_id=ada.id)) == updated
    assert len(await tenant.published()) == 2


async def test_an_update_to_another_contacts_address_is_a_conflict_and_changes_nothing(
    tenant: Tenant,
) -> None:
    await tenant.add("ada@example.com")
    eve = await tenant.add("eve@example.com")
    with pytest.raises(Conflict):
        await tenant(pb.UpdateContactRequest(contact_id=eve.id, email="Ada@example.com", first_name="Eve"))
    assert await tenant(pb.GetContactRequest(contact_id=eve.id)) == eve
    renamed = await tenant(pb.UpdateContactRequest(contact_id=eve.id, email="Eve@example.com"))
    assert renamed.email == "Eve@example.com"


async def test_a_deleted_contact_is_gone_from_everywhere(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    ada = await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant(pb.DeleteContactRequest(contact_id=ada.id))
    for request in (
        pb.GetContactRequest(contact_id=ada.id),
        pb.DeleteContactRequest(contact_id=ada.id),
        pb.UpdateContactRequest(contact_id=ada.id, first_name="Ada"),
        pb.UpdateContactRequest(contact_id=ada.id, email="eve@example.com"),
        pb.UpdateContactRequest(contact_id=ada.id),
    ):
        with pytest.raises(NotFound, match=ada.id):
            await tenant(request)
    assert (await tenant(lists_pb2.GetListRequest(list_id=readers.id))).contact_count == 0
    digest = EmailAddress.parse("ada@example.com").digest
    assert (await tenant.published())[-1] == events_pb2.ContactsDeleted(
        contact_ids=[ada.id], email_digests=[digest]
    )


async def test_pages_hold_every_contact_once_newest_first(tenant: Tenant) -> None:
    created = [(await tenant.add(f"reader{number}@example.com")).id for number in range(7)]
    seen, token = [], ""
    while True:
        page = await tenant(pb.ListContactsRequest(page_size=3, page_token=token))
        seen += [contact.id for contact in page.contacts]
        if not (token := page.next_page_token):
            break
        assert len(page.contacts) == 3
    assert seen == created[::-1]


async def test_contacts_are_found_by_address_and_by_status(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    await tenant.add("eve@example.com")

    async def found(**filters: Any) -> list[str]:
        page = await tenant(pb.ListContactsRequest(**filters))
        return [contact.email for contact in page.contacts]

    assert await found(email="ADA@example.com") == [ada.email]
    assert await found(email="nobody@example.com") == []
    assert await found(status=pb.CONTACT_STATUS_SUBSCRIBED) == ["eve@example.com", "ada@example.com"]
    assert await found(status=pb.CONTACT_STATUS_BOUNCED) == []
    assert await found(email=ada.email, status=pb.CONTACT_STATUS_BOUNCED) == []


async def test_a_page_token_that_no_list_answered_with_is_refused(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest):
        await tenant(pb.ListContactsRequest(page_token="x"))
