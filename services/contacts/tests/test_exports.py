"""Exports: everything that was asked for and nothing else, as it is when it is downloaded, and safe to open."""

import csv
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import orjson
import pytest
from google.protobuf.struct_pb2 import Struct, Value

from chassis.errors import InvalidRequest, NotFound
from flownurture.contacts.v1 import contacts_pb2, segments_pb2, tags_pb2
from flownurture.contacts.v1 import exports_pb2 as pb
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_UNSUBSCRIBE
from services.contacts.tests.tenant import Tenant


async def csv_of(tenant: Tenant, export: pb.Export) -> list[dict[str, str]]:
    file = await tenant.download(pb.DownloadExportCsvRequest(export_id=export.id))
    return list(csv.DictReader(StringIO(file.decode(), newline="")))


async def json_of(tenant: Tenant, export: pb.Export) -> list[dict[str, Any]]:
    file = await tenant.download(pb.DownloadExportJsonRequest(export_id=export.id))
    return [orjson.loads(line) for line in file.splitlines()]


async def test_an_export_has_all_that_is_known_of_each(tenant: Tenant) -> None:
    await tenant.declare("city", "text")
    await tenant.declare("vip", "boolean")
    readers = await tenant.add_list("Readers")
    known = Struct()
    known.update({"city": "London", "vip": True})
    ada = await tenant.add(
        "ada@example.com",
        first_name="Ada",
        time_zone="Europe/London",
        list_ids=[readers.id],
        tags=["b", "A"],
        custom_fields=known,
    )
    await tenant.suppress("ada@example.com", SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.add("eve@example.com")
    export = await tenant(pb.CreateExportRequest())
    assert export.contact_count == 2
    first, second = await csv_of(tenant, export)
    assert first | {"created_at": "", "updated_at": ""} == {
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "",
        "time_zone": "Europe/London",
        "status": "unsubscribed",
        "created_at": "",
        "updated_at": "",
        "tags": "A, b",
        "lists": "Readers",
        "city": "London",
        "vip": "true",
    }
    assert second["email"] == "eve@example.com"
    told, _ = await json_of(tenant, export)
    assert (told["id"], told["time_zone"]) == (ada.id, "Europe/London")
    assert told["custom_fields"] == {"city": "London", "vip": True}
    assert told["lists"] == [{"id": readers.id, "name": "Readers"}]
    assert [event["type"] for event in told["events"]] == [
        "subscribed",
        "list_joined",
        "tag_added",
        "tag_added",
        "unsubscribed",
    ]


async def test_an_export_is_of_a_list_a_tag_a_segment_or_one_person(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    ada = await tenant.add("ada@example.com", list_ids=[readers.id])
    await tenant.add("eve@example.com", tags=["vip"])
    await tenant.add("kim@example.com")
    (vip,) = (await tenant(tags_pb2.ListTagsRequest())).tags
    rule = segments_pb2.Rule(
        field=segments_pb2.FieldCondition(
            name=segments_pb2.CONTACT_FIELD_EMAIL,
            operator=segments_pb2.OPERATOR_CONTAINS,
            value=Value(string_value="m@"),
        )
    )
    segment = await tenant(segments_pb2.CreateSegmentRequest(name="Kim", rule=rule))
    for request, who in (
        (pb.CreateExportRequest(list_id=readers.id), "ada"),
        (pb.CreateExportRequest(tag_id=vip.id), "eve"),
        (pb.CreateExportRequest(segment_id=segment.id), "kim"),
        (pb.CreateExportRequest(contact_id=ada.id), "ada"),
    ):
        export = await tenant(request)
        assert await tenant(pb.GetExportRequest(export_id=export.id)) == export
        assert [row["email"] for row in await csv_of(tenant, export)] == [f"{who}@example.com"]
        assert [row["email"] for row in await json_of(tenant, export)] == [f"{who}@example.com"]
    with pytest.raises(InvalidRequest):
        await tenant(pb.CreateExportRequest(list_id=readers.id, tag_id=vip.id))


async def test_an_export_of_many_comes_whole(tenant: Tenant) -> None:
    rows = "".join(f"r{number}@example.com\n" for number in range(2_500))
    await tenant.import_file(f"email\n{rows}".encode())
    export = await tenant(pb.CreateExportRequest())
    addresses = [row["email"] for row in await csv_of(tenant, export)]
    assert sorted(addresses) == sorted(rows.split())


async def test_a_file_runs_nothing_in_a_spreadsheet_and_is_imported_as_it_was(tenant: Tenant) -> None:
    await tenant.add("+tag@example.com", first_name="=HYPERLINK(1)", last_name="@SUM(1)")
    export = await tenant(pb.CreateExportRequest())
    file = await tenant.download(pb.DownloadExportCsvRequest(export_id=export.id))
    (row,) = csv.DictReader(StringIO(file.decode(), newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
    found = await tenant.import_file(file)
    assert (found.created_contacts, found.updated_contacts, found.failed_rows) == (0, 1, 0)
    ((email, contact),) = (await tenant.everybody()).items()
    assert (email, contact.first_name, contact.last_name) == ("+tag@example.com", "=HYPERLINK(1)", "@SUM(1)")


async def test_an_export_of_nobody_is_a_file(tenant: Tenant) -> None:
    export = await tenant(pb.CreateExportRequest())
    assert await csv_of(tenant, export) == []
    assert await json_of(tenant, export) == []


async def test_nobody_downloads_what_is_another_organizations(tenant: Tenant, stranger: Tenant) -> None:
    await tenant.add("ada@example.com")
    export = await tenant(pb.CreateExportRequest())
    for request in (
        pb.DownloadExportCsvRequest(export_id=export.id),
        pb.DownloadExportJsonRequest(export_id=export.id),
    ):
        with pytest.raises(NotFound):
            await stranger.download(request)


async def test_an_export_shows_who_is_erased_no_more(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    export = await tenant(pb.CreateExportRequest())
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=ada.id))
    assert await csv_of(tenant, export) == []
    assert export.created_at.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
