import codecs
import csv
from io import StringIO

import pytest

from chassis.errors import InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1 import imports_pb2 as pb
from flownurture.contacts.v1 import lists_pb2
from services.contacts.imports import MOST_ROW_ERRORS
from services.contacts.tests.tenant import Tenant

MIB = 1 << 20


def counts(found: pb.Import) -> tuple[int, int, int, int, int]:
    return (
        found.processed_rows,
        found.created_contacts,
        found.updated_contacts,
        found.duplicate_rows,
        found.failed_rows,
    )


async def test_a_file_becomes_contacts_in_a_list(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    file = (
        b"Email;First Name;Last Name;Shoe size\r\nAda@Example.com;Ada;Lovelace;36\r\neve@example.com;;;\r\n"
    )
    waiting = await tenant.upload(file, list_id=readers.id)
    assert (waiting.status, waiting.size_bytes, waiting.progress) == (pb.IMPORT_STATUS_PENDING, len(file), 0)
    found = await tenant.finish(waiting.id)
    assert found.status == pb.IMPORT_STATUS_COMPLETED
    assert (found.list_id, found.progress, found.failure) == (readers.id, 1, "")
    assert counts(found) == (2, 2, 0, 0, 0)
    everybody = await tenant.everybody()
    ada = everybody["Ada@example.com"]
    assert (ada.first_name, ada.last_name, list(ada.list_ids)) == ("Ada", "Lovelace", [readers.id])
    assert (await tenant(lists_pb2.GetListRequest(list_id=readers.id))).contact_count == 2
    assert await tenant.count("import_parts") == 0


async def test_rows_that_are_wrong_are_named_by_line_and_the_others_imported(tenant: Tenant) -> None:
    rows = [
        b"email,first name,last name",
        b"ok1@example.com,Ada,Lovelace",
        b"no-address,Bob,X",
        b",Carol,X",
        b"short@example.com,Dan",
        b"long@example.com,Eve,X,more",
        b"latin@example.com,Andr\xe9,X",
        b"nul@example.com,a\0b,X",
        b"name@example.com," + b"x" * 201 + b",X",
        b'two@example.com,"line one\nline two",X',
        b'ok2@example.com,"Fay ""the"" X","O,Y"',
        b'"broken"@example.com,Gus,X',
        "ok3@example.com,André,Größe".encode(),
        b"",
        b",,",
        b'last@example.com,"never closed,X',
    ]
    found = await tenant.import_file(b"\n".join(rows) + b"\n")
    assert found.status == pb.IMPORT_STATUS_COMPLETED
    errors = {error.line: (error.field, error.message) for error in found.errors}
    assert {line: field for line, (field, _) in errors.items()} == {
        3: "email",
        4: "email",
        5: "",
        6: "",
        7: "first_name",
        8: "first_name",
        9: "first_name",
        10: "first_name",
        13: "",
        17: "",
    }
    assert errors[4][1] == "is missing"
    assert errors[5][1] == "The row has 2 cells, the header 3."
    assert errors[6][1] == "The row has 4 cells, the header 3."
    assert errors[7][1] == "is not UTF-8"
    assert errors[9][1] == "may have at most 200 characters"
    assert "never closed" in errors[17][1]
    assert counts(found) == (13, 3, 0, 0, 10)
    everybody = await tenant.everybody()
    assert set(everybody) == {"ok1@example.com", "ok2@example.com", "ok3@example.com"}
    assert everybody["ok2@example.com"].first_name == 'Fay "the" X'
    assert everybody["ok3@example.com"].last_name == "Größe"


async def test_the_first_row_of_an_address_wins_also_across_chunks(tenant: Tenant) -> None:
    first = b"ada@example.com,First\n"
    others = b"".join(b"r%d@example.com,\n" % number for number in range(2500))
    found = await tenant.import_file(
        b"email,first name\n" + first + b"ADA@example.com,Second\n" + others + b"ada@Example.com,Third\n"
    )
    assert counts(found) == (2503, 2501, 0, 2, 0)
    assert (await tenant.everybody())["ada@example.com"].first_name == "First"


async def test_an_import_updates_names_that_the_file_knows_and_tells_of_what_changed(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    for name in ("ada", "eve", "kim"):
        await tenant.add(f"{name}@example.com", first_name=name, last_name="X")
    before = await tenant.everybody()
    told = len(await tenant.published())
    found = await tenant.import_file(
        b"email,first name,last name\nada@example.com,Ada,\neve@example.com,,\nkim@example.com,kim,X\n"
    )
    assert counts(found) == (3, 0, 3, 0, 0)
    everybody = await tenant.everybody()
    assert [(one.first_name, one.last_name) for one in everybody.values()] == [
        ("kim", "X"),
        ("eve", "X"),
        ("Ada", "X"),
    ]
    assert everybody["eve@example.com"] == before["eve@example.com"]
    change, ended = (await tenant.published())[told:]
    assert (ended.created_contacts, ended.updated_contacts, ended.failed_rows) == (0, 3, 0)
    assert [one.email for one in change.contacts] == ["ada@example.com"]
    await tenant.import_file(b"email\neve@example.com\n", list_id=readers.id)
    *_, change, joined, _ = await tenant.published()
    assert [one.email for one in change.contacts] == ["eve@example.com"]
    assert list(change.contacts[0].list_ids) == [joined.list_id] == [readers.id]


async def test_importing_the_same_file_again_changes_nothing(tenant: Tenant) -> None:
    file = b"email,first name\nada@example.com,Ada\neve@example.com,Eve\n"
    assert counts(await tenant.import_file(file)) == (2, 2, 0, 0, 0)
    before, told = await tenant.everybody(), await tenant.published()
    assert counts(await tenant.import_file(file)) == (2, 0, 2, 0, 0)
    assert await tenant.everybody() == before
    *again, ended = await tenant.published()
    assert again == told
    assert ended.updated_contacts == 2


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"", "The file is empty."),
        (b"name\nAda\n", "no e-mail column"),
        ("email\nada@example.com\n".encode("utf-16"), "encoded in UTF-16"),
        (b"email,\xff\n", "not UTF-8 at byte 7"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not UTF-8 at byte 1"),
    ],
)
async def test_a_file_that_is_no_list_of_contacts_fails_and_says_why(
    tenant: Tenant, file: bytes, says: str
) -> None:
    found = await tenant.import_file(file)
    assert found.status == pb.IMPORT_STATUS_FAILED
    assert says in found.failure
    assert found.HasField("completed_at")
    assert await tenant.count("import_parts") == 0


async def test_a_header_alone_is_an_import_of_nobody(tenant: Tenant) -> None:
    found = await tenant.import_file(codecs.BOM_UTF8 + b"email")
    assert (found.status, counts(found)) == (pb.IMPORT_STATUS_COMPLETED, (0, 0, 0, 0, 0))


async def test_every_refused_row_is_counted_the_first_shown_and_a_hundred_thousand_in_a_file(
    tenant: Tenant,
) -> None:
    refused = MOST_ROW_ERRORS + 1500
    found = await tenant.import_file(b"email\n" + b"nobody\n" * refused + b"ada@example.com\n")
    assert counts(found) == (refused + 1, 1, 0, 0, refused)
    assert [error.line for error in found.errors] == list(range(2, 1002))
    file = await tenant.download(pb.DownloadImportErrorsRequest(import_id=found.id))
    header, *lines = csv.reader(StringIO(file.decode()))
    assert header == ["line", "field", "message"]
    assert [int(line) for line, _, _ in lines] == list(range(2, MOST_ROW_ERRORS + 2))
    assert {(field, message) for _, field, message in lines} == {("email", found.errors[0].message)}


async def test_a_file_of_many_parts_is_read_across_their_borders(tenant: Tenant) -> None:
    filler = b'"' + b"x" * 50_000 + b'"'
    rows = [b"r%d@example.com,%s\n" % (number, filler) for number in range(50)]
    found = await tenant.import_file(
        b"email,notes\n" + b"".join(rows) + b"z" * (2 * MIB) + b"\nlast@example.com,x"
    )
    assert found.size_bytes > 4 * MIB
    assert counts(found) == (52, 51, 0, 0, 1)
    assert found.errors[0].line == 52


async def test_the_list_to_join_must_exist(tenant: Tenant, stranger: Tenant) -> None:
    foreign = await stranger.add_list()
    for list_id in (foreign.id, str(new_id())):
        with pytest.raises(NotFound, match=list_id):
            await tenant.upload(b"email\nada@example.com\n", list_id=list_id)
    assert await tenant.count("imports") == await tenant.count("import_parts") == 0


async def test_an_import_goes_on_when_its_list_is_deleted(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    waiting = await tenant.upload(b"email\nada@example.com\n", list_id=readers.id)
    await tenant(lists_pb2.DeleteListRequest(list_id=readers.id))
    found = await tenant.finish(waiting.id)
    assert (found.status, found.list_id, found.created_contacts) == (pb.IMPORT_STATUS_COMPLETED, "", 1)


async def test_an_upload_under_the_same_key_is_one_import(tenant: Tenant) -> None:
    file = b"email\nada@example.com\n"
    first = await tenant.upload(file, key="k1")
    assert await tenant.upload(file, key="k1", piece=3) == first
    assert await tenant.count("imports") == 1
    for other in (
        tenant.upload(file + b"eve@example.com\n", key="k1"),
        tenant.upload(file, key="k1", list_id=(await tenant.add_list()).id),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await other
        assert refused.value.reason == "IDEMPOTENCY_MISMATCH"
    assert (await tenant.upload(file, key="k2")).id != first.id


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [pb.CreateImportRequest()],
        [pb.CreateImportRequest(chunk=b"email\n")],
        [pb.CreateImportRequest(options=pb.ImportOptions())] * 2,
        [pb.CreateImportRequest(options=pb.ImportOptions(list_id="x"))],
        [pb.CreateImportRequest(options=pb.ImportOptions()), pb.CreateImportRequest(chunk=b"x" * (MIB + 1))],
    ],
)
async def test_a_malformed_upload_is_refused_and_leaves_nothing(
    tenant: Tenant, requests: list[pb.CreateImportRequest]
) -> None:
    with pytest.raises(InvalidRequest):
        await tenant.stream(requests)
    assert await tenant.count("imports") == await tenant.count("import_parts") == 0


async def test_a_file_beyond_256_mib_is_refused_and_leaves_nothing(tenant: Tenant) -> None:
    options = pb.CreateImportRequest(options=pb.ImportOptions())
    chunk = pb.CreateImportRequest(chunk=b"x" * MIB)
    with pytest.raises(InvalidRequest, match="268,435,456"):
        await tenant.stream([options, *[chunk] * 256, pb.CreateImportRequest(chunk=b"x")])
    assert await tenant.count("imports") == await tenant.count("import_parts") == 0


async def test_a_client_that_goes_away_half_way_leaves_nothing(tenant: Tenant) -> None:
    options = pb.CreateImportRequest(options=pb.ImportOptions())
    await tenant.stream_and_vanish([options, pb.CreateImportRequest(chunk=b"email\nada@example.com\n")])
    assert await tenant.count("imports") == await tenant.count("import_parts") == 0


async def test_imports_are_paged_newest_first_without_their_errors(tenant: Tenant) -> None:
    ids = [(await tenant.import_file(b"email\nx\n")).id for _ in range(3)]
    first = await tenant(pb.ListImportsRequest(page_size=2))
    rest = await tenant(pb.ListImportsRequest(page_size=2, page_token=first.next_page_token))
    found = [*first.imports, *rest.imports]
    assert [one.id for one in found] == ids[::-1]
    assert all(one.failed_rows == 1 and not one.errors for one in found)
    assert not rest.next_page_token


async def test_columns_tags_and_custom_fields_are_what_the_owner_says(tenant: Tenant) -> None:
    await tenant.declare("city", "text")
    await tenant.declare("score", "number")
    await tenant.declare("vip", "boolean")
    found = await tenant.import_file(
        b"Kontakt,Ort,score,vip,Rollen,email\n"
        b'ada@example.com,London,1.5,yes,"a, B",x\n'
        b"eve@example.com,,,,,x\n"
        b"bad@example.com,,much,,,x\n"
        b"sad@example.com,,,maybe,,x\n",
        columns={"Kontakt": "email", "Ort": "city", "Rollen": "tags", "email": "ignore"},
        tags=["imported"],
    )
    assert counts(found) == (4, 2, 0, 0, 2)
    assert [(error.line, error.field, error.message) for error in found.errors] == [
        (4, "score", "must be a number"),
        (5, "vip", "must be true or false"),
    ]
    everybody = await tenant.everybody()
    ada, eve = everybody["ada@example.com"], everybody["eve@example.com"]
    assert dict(ada.custom_fields) == {"city": "London", "score": 1.5, "vip": True}
    assert list(ada.tags) == ["a", "B", "imported"]
    assert (dict(eve.custom_fields), list(eve.tags)) == ({}, ["imported"])


async def test_a_column_cannot_be_what_there_is_not(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant.upload(b"email\n", columns={"Ort": "city", "x": "ignore"})
    assert [violation.field for violation in refused.value.violations] == ["options.columns['Ort']"]
    assert await tenant.count("imports") == 0


async def test_a_dry_run_counts_everything_and_changes_nothing(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    await tenant.add("ada@example.com", first_name="Ada")
    tenant.allow(contacts=3)
    before, told = await tenant.everybody(), await tenant.published()
    file = (
        b"email,first name\nada@example.com,Augusta\neve@example.com,Eve\nEVE@example.com,x\n"
        b"nobody,x\nkim@example.com,Kim\njoan@example.com,Joan\n"
    )
    rehearsed = await tenant.import_file(file, dry_run=True, list_id=readers.id, tags=["new"])
    assert rehearsed.dry_run
    assert (await tenant.everybody(), await tenant.published()) == (before, told)
    assert await tenant.count("tags") == await tenant.count("import_addresses") == 0
    done = await tenant.import_file(file, list_id=readers.id, tags=["new"])
    assert counts(done) == counts(rehearsed) == (6, 2, 1, 1, 2)
    assert list(done.errors) == list(rehearsed.errors)


async def test_only_new_leaves_who_is_there_as_they_are(tenant: Tenant) -> None:
    readers = await tenant.add_list()
    await tenant.add("ada@example.com", first_name="Ada")
    file = b"email,first name\nada@example.com,Augusta\neve@example.com,Eve\n"
    found = await tenant.import_file(file, only_new=True, list_id=readers.id)
    assert counts(found) == (2, 1, 1, 0, 0)
    everybody = await tenant.everybody()
    assert everybody["ada@example.com"].first_name == "Ada"
    assert {tuple(contact.list_ids) for contact in everybody.values()} == {(readers.id,)}
