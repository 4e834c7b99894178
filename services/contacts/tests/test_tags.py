"""Tags, batches of contacts, and what is looked for among them."""

import pytest

from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from flownurture.contacts.v1 import contacts_pb2 as contacts
from flownurture.contacts.v1 import tags_pb2 as pb
from services.contacts.tests.tenant import Tenant


async def test_a_tag_is_one_whatever_its_capitals(tenant: Tenant) -> None:
    vip = await tenant(pb.CreateTagRequest(name=" VIP "))
    assert vip.name == "VIP"
    for name in ("vip", "VIP"):
        with pytest.raises(Conflict):
            await tenant(pb.CreateTagRequest(name=name))
    ada = await tenant.add("ada@example.com", tags=["vip", "Vip", "new"])
    assert list(ada.tags) == ["new", "VIP"]
    assert (await tenant(pb.GetTagRequest(tag_id=vip.id))).contact_count == 1
    renamed = await tenant(pb.UpdateTagRequest(tag_id=vip.id, name="vip"))
    assert renamed.name == "vip"
    with pytest.raises(Conflict):
        await tenant(pb.UpdateTagRequest(tag_id=vip.id, name="NEW"))
    changed = await tenant(
        contacts.UpdateContactRequest(contact_id=ada.id, add_tags=["late"], remove_tags=["NEW", "none"])
    )
    assert list(changed.tags) == ["late", "vip"]
    await tenant(pb.DeleteTagRequest(tag_id=vip.id))
    with pytest.raises(NotFound):
        await tenant(pb.GetTagRequest(tag_id=vip.id))
    assert list((await tenant.everybody())["ada@example.com"].tags) == ["late"]


async def test_memberships_tell_when_and_how(tenant: Tenant) -> None:
    readers = await tenant.add_list("Readers")
    ada = await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant.import_file(b"email\nada@example.com\n", tags=["imported"])
    page = await tenant(contacts.ListContactMembershipsRequest(contact_id=ada.id))
    tag, in_list = page.memberships
    assert (in_list.list_id, in_list.name, in_list.source) == (
        readers.id,
        "Readers",
        contacts.CONTACT_SOURCE_API,
    )
    assert (tag.name, tag.source) == ("imported", contacts.CONTACT_SOURCE_IMPORT)
    assert tag.added_at.ToDatetime() > in_list.added_at.ToDatetime()


async def test_a_batch_creates_and_changes_all_in_one_go(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    eve = await tenant.add("eve@example.com", first_name="Eve", last_name="X")
    people = [
        contacts.UpsertContactRequest(email="EVE@example.com", first_name="Eva", tags=["old"]),
        contacts.UpsertContactRequest(email="ada@example.com", list_ids=[readers.id], tags=["new"]),
    ]
    answer = await tenant(contacts.BatchUpsertContactsRequest(contacts=people))
    assert [(result.contact_id, result.created) for result in answer.results] == [
        (eve.id, False),
        ((await tenant.everybody())["ada@example.com"].id, True),
    ]
    everybody = await tenant.everybody()
    assert (everybody["eve@example.com"].first_name, everybody["eve@example.com"].last_name) == ("Eva", "X")
    assert list(everybody["ada@example.com"].list_ids) == [readers.id]


async def test_a_batch_is_all_or_nothing(tenant: Tenant) -> None:
    tenant.allow(contacts=3)
    people = [contacts.UpsertContactRequest(email=f"r{number}@example.com") for number in range(4)]
    with pytest.raises(PermissionDenied) as refused:
        await tenant(contacts.BatchUpsertContactsRequest(contacts=people))
    assert refused.value.reason == "PLAN_LIMIT_EXCEEDED"
    twice = contacts.UpsertContactRequest(email="R0@example.com")
    with pytest.raises(InvalidRequest) as invalid:
        await tenant(contacts.BatchUpsertContactsRequest(contacts=[*people[:2], twice]))
    (violation,) = invalid.value.violations
    assert (violation.field, violation.message) == ("contacts[2].email", "is that of contacts[0]")
    assert await tenant.everybody() == {}
    await tenant(contacts.BatchUpsertContactsRequest(contacts=people[:3]))
    assert len(await tenant.everybody()) == 3


async def test_contacts_are_found_by_what_is_asked_and_come_in_order(tenant: Tenant) -> None:
    for email, first_name in (
        ("Zoe@example.com", "Zoë"),
        ("ada@example.com", "Ada"),
        ("bob@example.com", "Zoran"),
    ):
        await tenant.add(email, first_name=first_name, tags=["old"] if first_name == "Ada" else [])
    (tag,) = (await tenant(pb.ListTagsRequest())).tags

    async def found(**asked: object) -> list[str]:
        seen: list[str] = []
        token = ""
        while True:
            page = await tenant(
                contacts.ListContactsRequest(page_size=1, page_token=token, **asked)  # type: ignore[arg-type]
            )
            seen += [contact.email.partition("@")[0] for contact in page.contacts]
            if not (token := page.next_page_token):
                return seen

    assert await found() == ["bob", "ada", "Zoe"]
    assert await found(sort=contacts.CONTACT_SORT_OLDEST) == ["Zoe", "ada", "bob"]
    assert sorted(await found(sort=contacts.CONTACT_SORT_EMAIL)) == sorted(["ada", "bob", "Zoe"])
    assert (
        await found(sort=contacts.CONTACT_SORT_EMAIL)
        == (await found(sort=contacts.CONTACT_SORT_EMAIL_DESCENDING))[::-1]
    )
    assert await found(search="ZO") == ["bob", "Zoe"]
    assert await found(search="%") == []
    assert await found(tag_id=tag.id) == ["ada"]
    zoe = (await tenant.everybody())["Zoe@example.com"]
    await tenant(contacts.UpdateContactRequest(contact_id=zoe.id, last_name="X"))
    assert await found(sort=contacts.CONTACT_SORT_LAST_CHANGED) == ["Zoe", "bob", "ada"]
    page = await tenant(contacts.ListContactsRequest(page_size=1, sort=contacts.CONTACT_SORT_EMAIL))
    with pytest.raises(InvalidRequest, match="not valid"):
        await tenant(contacts.ListContactsRequest(page_size=1, page_token=page.next_page_token))
