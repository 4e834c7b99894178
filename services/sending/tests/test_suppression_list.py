"""The list as an organization works with it: looked through, filled from files, written into files, and audited."""

import asyncio
import csv
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import connections
from chassis.context import ActorKind
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, InvalidRequest
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.context.v1.context_pb2 import Actor
from flownurture.options.v1.access_pb2 import ROLE_ORG_ADMIN
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import files_pb2
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1.events_pb2 import SuppressionRemoved
from services.sending.delivery.settings import DeliverySettings
from services.sending.statuses import SuppressionReason
from services.sending.suppression.address_files import RowError, read_addresses
from services.sending.suppression.api.files import SuppressionFileApi
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.tenant import Tenant

MANUAL = messages_pb2.SUPPRESSION_REASON_MANUAL
# By a transaction that has done nothing since, for longer than others may.
_KEEPS_ITS_KEY = """
    SELECT FROM pg_stat_activity
    WHERE usename = current_user AND state = 'idle in transaction' AND query LIKE '%idempotency_keys%'
      AND state_change < now() - interval '1.1 seconds'
"""


async def add(tenant: Tenant, email: str, note: str = "") -> pb.Suppression:
    entry: pb.Suppression = await tenant(pb.CreateSuppressionRequest(email=email, reason=MANUAL, note=note))
    return entry


async def found(tenant: Tenant, **wanted: object) -> list[str]:
    request = pb.ListSuppressionsRequest(**wanted)  # type: ignore[arg-type]
    return [entry.email for entry in (await tenant(request)).suppressions]


async def test_entries_are_found_by_a_part_of_the_address_in_any_case(
    tenant: Tenant, stranger: Tenant
) -> None:
    for email in ("Ada@Lovelace.test", "babbage@lovelace.test", "ada@byron.test"):
        await add(tenant, email)
    await add(stranger, "ada@elsewhere.test")
    assert await found(tenant, search="ADA@") == ["ada@byron.test", "Ada@lovelace.test"]
    assert await found(tenant, search="@lovelace") == ["babbage@lovelace.test", "Ada@lovelace.test"]
    assert not await found(tenant, search="%")


async def test_entries_are_found_by_when_they_were_added(tenant: Tenant) -> None:
    entry = await add(tenant, "ada@example.com")
    at = entry.created_at.ToDatetime(tzinfo=UTC)
    assert await found(tenant, **{"from": stamp(at), "to": stamp(at + timedelta(microseconds=1))})
    assert not await found(tenant, to=stamp(at))
    assert not await found(tenant, **{"from": stamp(at + timedelta(microseconds=1))})


async def test_a_period_that_ends_before_it_begins_is_refused_by_its_field(tenant: Tenant) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidRequest) as refused:
        await found(tenant, **{"from": stamp(now), "to": stamp(now - timedelta(days=1))})
    assert [violation.field for violation in refused.value.violations] == ["from"]


async def test_an_entry_says_who_added_it(tenant: Tenant) -> None:
    by_hand = await add(tenant, "ada@example.com")
    assert by_hand.added_by == Actor(kind=Actor.KIND_USER, id=tenant.context.actor_id)
    process = Actor(kind=Actor.KIND_PROCESS, id="delivery")
    context = tenant.context.of_process("delivery", tenant.context.organization)
    async with tenant.database.tenant_transaction(context) as session:
        await suppress(session, [Suppressed(bytes(32), SuppressionReason.HARD_BOUNCE)])
    observed, _ = (await tenant(pb.ListSuppressionsRequest())).suppressions
    assert observed.added_by == process


async def test_an_entry_says_which_report_led_to_it_and_by_which_rule(tenant: Tenant) -> None:
    report_id = new_id()
    entry = Suppressed(
        bytes(32), SuppressionReason.HARD_BOUNCE, rule="no_such_user", source="dsn", report_id=report_id
    )
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [entry])
    (shown,) = (await tenant(pb.ListSuppressionsRequest())).suppressions
    assert (shown.rule, shown.source, shown.report_id) == ("no_such_user", "dsn", str(report_id))


async def test_what_is_removed_by_hand_is_told_to_the_audit_trail(tenant: Tenant) -> None:
    entry = await add(tenant, "ada@example.com")
    await tenant(pb.DeleteSuppressionRequest(suppression_id=entry.id))
    (told,) = await tenant.published(SuppressionRemoved)
    assert (told.suppression_id, told.reason) == (entry.id, MANUAL)
    assert (told.actor.kind, told.actor.id) == (ActorKind.USER.value, tenant.context.actor_id)
    assert told.role == ROLE_ORG_ADMIN


async def test_a_file_of_addresses_is_in_force_when_it_is_answered(tenant: Tenant) -> None:
    file = b"name,email\nAda,ada@example.com\nTwice,ADA@example.com\n,\n\nBob,bob@example.com\n"
    answer = await tenant.import_suppressions(file, note="from the old system")
    assert (answer.processed_rows, answer.added_addresses, answer.failed_rows) == (3, 2, 0)
    entries = (await tenant(pb.ListSuppressionsRequest(reason=MANUAL))).suppressions
    assert {(entry.email, entry.note) for entry in entries} == {
        ("ada@example.com", "from the old system"),
        ("bob@example.com", "from the old system"),
    }
    await tenant.launch("ada@example.com", "eve@example.com")
    await tenant.approve()
    assert await tenant.statuses() == {"ada@example.com": "vetoed", "eve@example.com": "queued"}


@pytest.mark.parametrize(
    "file",
    [
        b"ada@example.com\nbob@example.com",
        b"\xef\xbb\xbfada@example.com\r\nbob@example.com\r\n",
        b'Note;EMAIL\r\n;ada@example.com\r\n"one\r\ntwo";bob@example.com\r\n',
        b"bob@example.com\tBob\nada@example.com\tAda\n",
    ],
)
async def test_files_come_with_and_without_a_header_in_every_dialect(tenant: Tenant, file: bytes) -> None:
    answer = await tenant.import_suppressions(file)
    assert (answer.added_addresses, answer.failed_rows) == (2, 0), answer
    assert set(await found(tenant)) == {"ada@example.com", "bob@example.com"}


async def test_a_row_that_cannot_be_read_costs_that_row_alone(tenant: Tenant) -> None:
    file = b'email\nnobody\n"ada@example.com\nbob@example.com\n\xff@example.com\n"a"b\ncat@example.com\n,x\n'
    answer = await tenant.import_suppressions(file)
    assert [(error.line, error.field) for error in answer.errors] == [
        (2, "email"),
        (3, ""),
        (5, "email"),
        (6, ""),
        (8, "email"),
    ]
    assert (answer.processed_rows, answer.failed_rows, answer.added_addresses) == (7, 5, 2)
    assert set(await found(tenant)) == {"bob@example.com", "cat@example.com"}


class Measured(BytesIO):
    """A file of which nobody may have more than a piece at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= 1 << 18
        return super().read(size)


@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf", b"email\n"], ids=["first", "marked", "second"])
def test_a_line_of_any_length_costs_itself_alone(begins: bytes) -> None:
    file = Measured(begins + b"x" * 1_000_000 + b"@example.com\nreader@example.com\n")
    refused, read = read_addresses(file)
    assert isinstance(refused, RowError)
    assert read == EmailAddress.parse("reader@example.com")


async def test_an_import_is_done_once_under_its_key_and_changes_nothing_again_without(tenant: Tenant) -> None:
    file = "".join(f"p{number}@example.com\n" for number in range(2_500)).encode()
    first = await tenant.import_suppressions(file, key="k1")
    assert first.added_addresses == 2_500
    assert await tenant.import_suppressions(file, key="k1") == first
    assert (await tenant.import_suppressions(file)).added_addresses == 0
    with pytest.raises(InvalidRequest) as refused:
        await tenant.import_suppressions(b"other@example.com\n", key="k1")
    assert refused.value.reason == "IDEMPOTENCY_MISMATCH"
    assert not await found(tenant, email="other@example.com")


async def test_of_two_imports_at_once_under_one_key_one_is_told_that_the_other_runs(tenant: Tenant) -> None:
    file = "".join(f"p{number}@example.com\n" for number in range(2_500)).encode()
    twice = (tenant.import_suppressions(file, key="k1") for _ in range(2))
    answers = await asyncio.gather(*twice, return_exceptions=True)
    (refused,) = [answer for answer in answers if isinstance(answer, Conflict)]
    (done,) = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert done.added_addresses == 2_500
    assert refused.reason == "IDEMPOTENCY_IN_FLIGHT"
    assert await tenant.import_suppressions(file, key="k1") == done


async def test_an_import_keeps_its_key_for_longer_than_others_may_do_nothing(
    tenant: Tenant, settings: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = connections._SERVER_SETTINGS | {"idle_in_transaction_session_timeout": "1s"}
    monkeypatch.setattr(connections, "_SERVER_SETTINGS", brief)
    rows = b"ada@example.com\nbob@example.com\n"

    async def sent() -> AsyncIterator[files_pb2.ImportSuppressionsRequest]:
        yield files_pb2.ImportSuppressionsRequest(options=files_pb2.SuppressionImportOptions())
        yield files_pb2.ImportSuppressionsRequest(chunk=rows)

    async def key_is_kept() -> bool:
        return bool(await tenant.rows(_KEEPS_ITS_KEY))

    keyed = replace(tenant.context, idempotency_key="k1")
    async with Database(settings.database_url, schema="sending") as database:
        # Somebody else has one of the addresses until it is seen that the key is kept.
        async with tenant.database.tenant_transaction(tenant.context) as session:
            ada = EmailAddress.parse("ada@example.com").digest
            await suppress(session, [Suppressed(ada, SuppressionReason.UNSUBSCRIBE)])
            imported = asyncio.create_task(SuppressionFileApi(database).import_suppressions(sent(), keyed))
            await until(key_is_kept)
        answer = await imported
    assert answer.added_addresses == 2
    assert await tenant.import_suppressions(rows, key="k1") == answer


async def test_an_import_lifts_and_changes_nothing_that_is_on_the_list(tenant: Tenant) -> None:
    entry = await add(tenant, "ada@example.com", "by phone")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(bytes(32), SuppressionReason.UNSUBSCRIBE)])
    await tenant.import_suppressions(b"ada@example.com\n", note="anew")
    entries = (await tenant(pb.ListSuppressionsRequest())).suppressions
    assert entry in entries
    assert {each.reason for each in entries} == {MANUAL, messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE}


async def test_several_imports_at_once_wait_for_each_other_and_are_all_done(tenant: Tenant) -> None:
    files = [f"p{number}@example.com\n".encode() for number in range(12)]
    await asyncio.gather(*(tenant.import_suppressions(file) for file in files))
    assert len(await found(tenant)) == 12


async def test_what_is_exported_can_be_imported_elsewhere(tenant: Tenant, stranger: Tenant) -> None:
    emails = {f"p{number}@example.com" for number in range(2_100)} | {"+tag@example.com", "=cmd@example.com"}
    await tenant.import_suppressions("\n".join(emails).encode(), note='=HYPERLINK("x")\nsecond line')
    file = await tenant.export_suppressions()
    rows = list(csv.DictReader(StringIO(file.decode(), newline="")))
    assert len(rows) == len(emails)
    assert {row["reason"] for row in rows} == {"manual"}
    assert {row["added_by"] for row in rows} == {f"user {tenant.context.actor_id}"}
    # A spreadsheet runs none of it.
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    answer = await stranger.import_suppressions(file)
    assert (answer.added_addresses, answer.failed_rows) == (len(emails), 0)
    assert await found(stranger, search="=cmd") == ["=cmd@example.com"]


async def test_an_export_is_of_one_reason_or_time_if_asked(tenant: Tenant, stranger: Tenant) -> None:
    await add(tenant, "ada@example.com")
    await add(stranger, "bob@example.com")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [Suppressed(bytes(32), SuppressionReason.UNSUBSCRIBE)])
    unsubscribed = (await tenant.export_suppressions(reason="SUPPRESSION_REASON_UNSUBSCRIBE")).splitlines()
    assert len(unsubscribed) == 2
    assert bytes(32).hex().encode() in unsubscribed[1]
    assert (
        len((await tenant.export_suppressions(to=stamp(datetime.now(UTC) - timedelta(hours=1)))).splitlines())
        == 1
    )
    assert b"bob@" not in await tenant.export_suppressions()


def stamp(moment: datetime) -> Timestamp:
    given = Timestamp()
    given.FromDatetime(moment)
    return given
