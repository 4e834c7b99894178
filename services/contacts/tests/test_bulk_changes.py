"""Bulk changes: all who are meant, nobody else, once, whatever happens meanwhile."""

from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value

from chassis.database import Database, RoleDatabase
from chassis.errors import InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1 import bulk_changes_pb2 as pb
from flownurture.contacts.v1 import contacts_pb2, lists_pb2, segments_pb2, tags_pb2
from services.contacts.bulk_changes import bulk_change_worker
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_import_worker import Killed, MortalDatabase

READERS = segments_pb2.Rule(
    field=segments_pb2.FieldCondition(
        name=segments_pb2.CONTACT_FIELD_EMAIL,
        operator=segments_pb2.OPERATOR_STARTS_WITH,
        value=Value(string_value="r"),
    )
)


async def with_readers(tenant: Tenant, number: int = 10) -> None:
    rows = "".join(f"r{each}@example.com\n" for each in range(number))
    await tenant.import_file(f"email\n{rows}other@example.com\n".encode())


async def tag(tenant: Tenant, name: str = "vip") -> str:
    return str((await tenant(tags_pb2.CreateTagRequest(name=name))).id)


async def members(tenant: Tenant, list_id: str) -> int:
    return int((await tenant(lists_pb2.GetListRequest(list_id=list_id))).contact_count)


async def test_lists_and_tags_come_and_go_for_all_who_fit(tenant: Tenant) -> None:
    await with_readers(tenant)
    readers, vip = await tenant.add_list(), await tag(tenant)
    done = await tenant.change_all(pb.CreateBulkChangeRequest(rule=READERS, add_to_list_id=readers.id))
    assert done.status == pb.BULK_CHANGE_STATUS_COMPLETED
    assert (done.total_contacts, done.processed_contacts, done.changed_contacts) == (10, 10, 10)
    assert await members(tenant, readers.id) == 10
    done = await tenant.change_all(pb.CreateBulkChangeRequest(rule=READERS, add_to_list_id=readers.id))
    assert (done.processed_contacts, done.changed_contacts) == (10, 0)
    segment = await tenant(segments_pb2.CreateSegmentRequest(name="R", rule=READERS))
    done = await tenant.change_all(pb.CreateBulkChangeRequest(segment_id=segment.id, add_tag_id=vip))
    assert done.changed_contacts == 10
    everybody = await tenant.everybody()
    assert [list(contact.tags) for contact in everybody.values()].count(["vip"]) == 10
    two = [everybody[f"r{number}@example.com"].id for number in (1, 2)]
    done = await tenant.change_all(pb.CreateBulkChangeRequest(contact_ids=two, remove_tag_id=vip))
    assert (done.total_contacts, done.changed_contacts) == (2, 2)
    done = await tenant.change_all(
        pb.CreateBulkChangeRequest(contact_ids=two, remove_from_list_id=readers.id)
    )
    assert await members(tenant, readers.id) == 8
    (first,) = (await tenant(contacts_pb2.ListContactEventsRequest(contact_id=two[0], page_size=1))).events
    assert (first.type, first.source) == (
        contacts_pb2.CONTACT_EVENT_TYPE_LIST_LEFT,
        contacts_pb2.CONTACT_SOURCE_BULK_CHANGE,
    )
    assert (first.source_id, first.about_id) == (done.id, readers.id)


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("dies_in", range(1, 7))
async def test_a_change_whose_worker_dies_goes_on_where_it_was(
    tenant: Tenant, database: Database, scheduler: RoleDatabase, dies_in: int, at_the_end: bool
) -> None:
    await with_readers(tenant)
    readers = await tenant.add_list()
    waiting = await tenant(pb.CreateBulkChangeRequest(rule=READERS, add_to_list_id=readers.id))
    mortal = bulk_change_worker(MortalDatabase(database, dies_in, at_the_end=at_the_end), scheduler, page=3)
    try:
        await mortal.take_turn(tenant.context, UUID(waiting.id))
    except Killed:
        await tenant.execute("UPDATE bulk_changes SET lease_until = now() - interval '1 second'")
    done = await tenant.finish_change(waiting.id)
    assert (done.status, done.processed_contacts, done.changed_contacts) == (
        pb.BULK_CHANGE_STATUS_COMPLETED,
        10,
        10,
    )
    assert await members(tenant, readers.id) == 10
    assert await tenant.count("contact_events WHERE type = 'list_joined'") == 10


async def test_a_list_that_is_deleted_meanwhile_ends_the_change_and_says_why(tenant: Tenant) -> None:
    await with_readers(tenant)
    readers = await tenant.add_list()
    waiting = await tenant(pb.CreateBulkChangeRequest(rule=READERS, add_to_list_id=readers.id))
    await tenant(lists_pb2.DeleteListRequest(list_id=readers.id))
    done = await tenant.finish_change(waiting.id)
    assert done.status == pb.BULK_CHANGE_STATUS_FAILED
    assert readers.id in done.failure


async def test_a_change_says_for_whom_it_is_and_what_it_does_once(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    ada = await tenant.add("ada@example.com")
    for request, field in (
        (pb.CreateBulkChangeRequest(rule=READERS), "change"),
        (pb.CreateBulkChangeRequest(add_to_list_id=readers.id), "rule"),
        (pb.CreateBulkChangeRequest(rule=READERS, contact_ids=[ada.id], add_to_list_id=readers.id), "rule"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(request)
        assert [violation.field for violation in refused.value.violations] == [field]
    for request in (
        pb.CreateBulkChangeRequest(rule=READERS, add_to_list_id=str(new_id())),
        pb.CreateBulkChangeRequest(rule=READERS, remove_tag_id=readers.id),
        pb.CreateBulkChangeRequest(contact_ids=[ada.id, str(new_id())], add_to_list_id=readers.id),
        pb.CreateBulkChangeRequest(segment_id=str(new_id()), add_to_list_id=readers.id),
    ):
        with pytest.raises(NotFound):
            await tenant(request)
    assert await tenant.count("bulk_changes") == 0
