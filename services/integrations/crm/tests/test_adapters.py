"""What every adapter promises, whichever CRM it is: nobody is missed, what is done is known, limits are told, and nothing else is raised."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from services.integrations.crm.adapter import Crm
from services.integrations.crm.errors import (
    Broken,
    CrmError,
    CursorLost,
    QuotaExhausted,
    RateLimited,
    Unauthorized,
)
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.providers import PROVIDERS
from services.integrations.crm.records import Activity, Change, Outcome, Person, Property, Record
from services.integrations.crm.tests.servers.accounts import ACCOUNTS, LocalAccount
from services.integrations.crm.tests.servers.keys import Key
from services.integrations.crm.tests.servers.serving import serving

ADA = "Ada.Lovelace@example.com"


@dataclass
class Adapted:
    """An account, and an adapter that talks to it."""

    account: LocalAccount
    crm: Crm
    key: Key

    @property
    def properties(self) -> list[Property]:
        return [self.account.given, self.account.family, self.account.points]

    async def walk(self, cursor: str | None = None, limit: int = 3) -> tuple[list[Record], str]:
        """Everything that has changed, and where it ended."""
        records: list[Record] = []
        while True:
            page = await self.crm.changed(cursor, self.properties, limit)
            records += page.records
            cursor = page.cursor
            assert len(cursor) <= 1_024
            if page.is_last:
                return records, cursor

    async def write(self, changes: list[Change]) -> list[Outcome]:
        """All of them, as many at a time as it likes."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(changes):
            done = await self.crm.write(changes[len(outcomes) :], self.properties)
            assert done
            outcomes += done
        return outcomes

    def add(self, number: int) -> list[str]:
        return [self.account.add(f"reader{each}@example.com", given=f"R{each}") for each in range(number)]

    def asks(self) -> list[Callable[[], Awaitable[Any]]]:
        """A call of every kind."""
        someone = self.account.live()[0].id
        activity = Activity("event-1", someone, "Opened", "Newsletter", datetime.now(UTC))
        values = {self.account.given.name: "A"}
        return [
            self.crm.account,
            self.crm.properties,
            lambda: self.crm.newest(self.properties, 10),
            lambda: self.crm.changed(None, self.properties, 10),
            lambda: self.crm.read([someone], self.properties),
            lambda: self.crm.find([ADA], self.properties),
            lambda: self.crm.write([Change(someone, ADA, values)], self.properties),
            lambda: self.crm.write([Change(None, ADA, values)], self.properties),
            lambda: self.crm.opt_out([Person(someone, ADA)]),
            lambda: self.crm.log([activity]),
            lambda: self.crm.logged([activity]),
        ]


@pytest_asyncio.fixture(params=list(ACCOUNTS))
async def adapted(request: pytest.FixtureRequest, http: HttpClient) -> AsyncIterator[Adapted]:
    account = ACCOUNTS[request.param]()
    async with serving(account.server.app()) as url:
        key = Key(url)
        yield Adapted(account, account.crm(http, key), key)


def test_every_provider_has_an_account_that_is_tried_here() -> None:
    assert {name: provider.crm for name, provider in PROVIDERS.items()} == {
        name: account.crm for name, account in ACCOUNTS.items()
    }


async def test_everybody_is_walked_through_and_later_only_who_has_changed(adapted: Adapted) -> None:
    ids = adapted.add(10)
    records, cursor = await adapted.walk()
    assert [record.id for record in records] == ids
    assert records[3].properties[adapted.account.given.name] == "R3"
    assert await adapted.walk(cursor) == ([], cursor)
    adapted.account.edit(ids[2], given="Ada")
    changed, _ = await adapted.walk(cursor)
    assert [(record.id, record.properties[adapted.account.given.name]) for record in changed] == [
        (ids[2], "Ada")
    ]


async def test_a_few_are_had_beginning_with_who_changed_last(adapted: Adapted) -> None:
    ids = adapted.add(5)
    adapted.account.edit(ids[1], given="Ada")
    found = await adapted.crm.newest(adapted.properties, 3)
    assert [record.id for record in found] == [ids[1], ids[4], ids[3]]
    assert found[0].properties[adapted.account.given.name] == "Ada"


async def test_more_than_a_page_that_changed_in_one_moment_are_all_there(adapted: Adapted) -> None:
    ids = adapted.add(15)
    adapted.account.at_one_moment(ids[2:13])
    records, cursor = await adapted.walk()
    assert {record.id for record in records} == set(ids)
    adapted.account.at_one_moment(ids[5:9])
    changed, _ = await adapted.walk(cursor)
    assert {record.id for record in changed} >= set(ids[5:9])


async def test_whoever_is_edited_during_the_walk_is_not_missed_nor_is_anybody_else(adapted: Adapted) -> None:
    ids = adapted.add(9)
    page = await adapted.crm.changed(None, adapted.properties, 4)
    for edited in ids[:5]:
        adapted.account.edit(edited, given="Later")
    rest, _ = await adapted.walk(page.cursor)
    assert {record.id for record in (*page.records, *rest)} == set(ids)
    assert {record.id for record in rest} >= set(ids[:5])


async def test_what_changes_just_now_comes_once_more_rather_than_not_at_all(adapted: Adapted) -> None:
    adapted.account.server.now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)
    (someone,) = adapted.add(1)
    _, cursor = await adapted.walk()
    again, _ = await adapted.walk(cursor)
    assert [record.id for record in again] == [someone]


async def test_a_cursor_that_is_none_begins_anew(adapted: Adapted) -> None:
    for cursor in ("", "[]", "{}", '{"after":"x"}', "null"):
        with pytest.raises(CursorLost):
            await adapted.crm.changed(cursor, adapted.properties, 10)


async def test_a_token_that_ends_in_the_middle_of_a_walk_is_replaced_once(adapted: Adapted) -> None:
    ids = adapted.add(7)
    adapted.account.server.ends_after = 3
    records, _ = await adapted.walk()
    assert [record.id for record in records] == ids
    assert adapted.key.good == ["token-2"]


async def test_without_another_token_somebody_has_to_connect_again(adapted: Adapted) -> None:
    adapted.account.server.tokens = set()
    with pytest.raises(Unauthorized):
        await adapted.crm.account()


async def test_an_address_is_found_however_it_is_written(adapted: Adapted) -> None:
    ada, other = adapted.account.add("ADA@Example.COM", given="A"), adapted.account.add("a.da@example.com")
    found = await adapted.crm.find(["ada@example.com", "nobody@example.com"], adapted.properties)
    assert [(email, record.id) for email, record in found.items()] == [("ada@example.com", ada)]
    assert found["ada@example.com"].properties[adapted.account.given.name] == "A"
    assert set(await adapted.crm.read([ada, other], [])) == {ada, other}


async def test_what_is_written_is_read_and_what_is_not_named_stays(adapted: Adapted) -> None:
    given, family, points = (each.name for each in adapted.properties)
    (made,) = await adapted.write(
        [Change(None, ADA, {given: "Zoë", family: "O'Hara", points: Decimal("12.5")})]
    )
    assert made.id is not None
    await adapted.write([Change(made.id, ADA, {points: None})])
    await adapted.write([Change(made.id, ADA, {family: None})])
    read = (await adapted.crm.read([made.id], adapted.properties))[made.id]
    assert dict(read.properties) == {given: "Zoë", family: None, points: None}
    assert (read.email or "").lower() == ADA.lower()


async def test_who_is_written_without_a_name_has_none_even_after_their_address_moves(
    adapted: Adapted,
) -> None:
    given, family, _ = (each.name for each in adapted.properties)
    (made,) = await adapted.write([Change(None, ADA, {given: None, family: None})])
    assert made.id is not None
    await adapted.write([Change(made.id, "moved@example.com", {})])
    read = (await adapted.crm.read([made.id], adapted.properties))[made.id]
    assert (read.email, read.properties[given], read.properties[family]) == ("moved@example.com", None, None)


async def test_to_write_again_makes_nobody_twice_and_changes_nothing(adapted: Adapted) -> None:
    known = adapted.account.add("Known@example.com", given="K")
    values = {adapted.account.given.name: "A"}
    changes = [Change(None, email, values) for email in (ADA, "known@example.com")]
    first = await adapted.write(changes)
    after = adapted.account.live()
    assert [outcome.id for outcome in await adapted.write(changes)] == [outcome.id for outcome in first]
    assert first[1].id == known
    assert [(each.id, each.properties) for each in after] == [
        (each.id, each.properties) for each in adapted.account.live()
    ]
    assert len(after) == 2


async def test_each_has_its_own_outcome_and_who_is_gone_keeps_nobody_waiting(adapted: Adapted) -> None:
    ada, gone, bob = (
        adapted.account.add(f"{name}@example.com", given="x") for name in ("ada", "gone", "bob")
    )
    adapted.account.archive(gone)
    values = {adapted.account.given.name: "New"}
    outcomes = await adapted.write(
        [
            Change(id_, f"{name}@example.com", values)
            for id_, name in ((ada, "ada"), (gone, "gone"), (bob, "bob"))
        ]
    )
    assert [outcome.id for outcome in outcomes] == [ada, None, bob]
    assert outcomes[1].error
    assert not outcomes[1].is_retryable


async def test_who_is_archived_is_neither_read_nor_found(adapted: Adapted) -> None:
    (gone,) = adapted.add(1)
    adapted.account.archive(gone)
    assert not await adapted.crm.read([gone], adapted.properties)
    assert not await adapted.crm.find(["reader0@example.com"], adapted.properties)
    assert all(record.is_archived for record in (await adapted.walk())[0])


async def test_many_are_written_and_found_part_by_part(adapted: Adapted) -> None:
    emails = [f"r{number}@example.com" for number in range(110)]
    outcomes = await adapted.write([Change(None, email, {}) for email in emails])
    assert len({outcome.id for outcome in outcomes}) == len(emails)
    found = await adapted.crm.find(emails, adapted.properties)
    assert [found[email].id for email in emails] == [outcome.id for outcome in outcomes]


async def test_an_opt_out_is_told_and_seen_and_nobody_else_is_opted_out(adapted: Adapted) -> None:
    ada, bob = adapted.account.add("ada@example.com"), adapted.account.add("bob@example.com")
    for _ in range(2):
        (outcome,) = await adapted.crm.opt_out([Person(ada, "ada@example.com")])
        assert outcome.id == ada
    read = await adapted.crm.read([ada, bob], [])
    assert (read[ada].opted_out, read[bob].opted_out) == (True, False)


async def test_activities_are_shown_and_found_again(adapted: Adapted) -> None:
    ada = adapted.account.add("ada@example.com")
    activities = [
        Activity(
            f"event-{number}", ada, "Opened 'it' " + "x" * 300, "<b>News</b>", adapted.account.server.now
        )
        for number in range(105)
    ]
    assert not await adapted.crm.logged(activities)
    # What is handed over together: whatever has no outcome is in doubt for a while.
    outcomes = await adapted.crm.log(activities[:100])
    assert [bool(outcome.id) for outcome in outcomes] == [True] * 100
    assert await adapted.crm.logged(activities) == {activity.id for activity in activities[:100]}
    assert len(adapted.account.history(ada)) == 100


async def test_limits_are_told_with_how_long_to_wait(adapted: Adapted) -> None:
    server = adapted.account.server
    for status in (429, 503):
        server.instead = [JSONResponse({}, status, {"Retry-After": "77"})]
        with pytest.raises(RateLimited) as limit:
            await adapted.crm.account()
        assert limit.value.retry_after == 77
    server.instead = [adapted.account.quota()]
    with pytest.raises(QuotaExhausted) as quota:
        await adapted.crm.account()
    assert timedelta(0) < quota.value.until - datetime.now(UTC) <= timedelta(days=1)


ODD: dict[str, Response] = {
    "page": PlainTextResponse("<html>token-1 Ada.Lovelace@example.com"),
    "refused page": PlainTextResponse("<html>token-1", 403),
    "refused": JSONResponse({"message": "token-1 Ada.Lovelace@example.com", "category": "X"}, 400),
    "forbidden": JSONResponse([{"errorCode": "X", "message": "token-1 Ada.Lovelace@example.com"}], 403),
    "broken": JSONResponse({"error": "token-1"}, 500),
    "redirect": RedirectResponse("http://127.0.0.1:1/token-1"),
    "null": JSONResponse(None),
    "number": JSONResponse(7),
    "text": JSONResponse("token-1"),
    "empty object": JSONResponse({}),
    "list of numbers": JSONResponse([1]),
    "lists of numbers": JSONResponse({"results": [1], "data": [1], "records": [1], "fields": [1]}),
    "lists of empty": JSONResponse({"results": [{}], "data": [{}], "records": [{}], "fields": [{}]}),
    "numbers for objects": JSONResponse(
        {"results": 1, "data": {"items": [7], "id": None}, "records": 1, "fields": 1, "additional_data": 7}
    ),
    "objects for numbers": JSONResponse(
        {
            "results": [{"id": {}, "properties": 1, "updatedAt": {}, "name": {}, "type": {}}],
            "data": [{"id": {}, "emails": 1, "update_time": {}, "custom_fields": 1, "field_type": {}}],
            "records": [{"Id": {}, "Email": 1, "SystemModstamp": {}, "Subject": {}}],
            "fields": [{"name": {}, "type": {}, "picklistValues": 1}],
            "totalSize": {},
        }
    ),
}


async def test_whatever_is_answered_nothing_but_its_errors_is_raised_and_they_hold_no_secrets(
    adapted: Adapted,
) -> None:
    adapted.add(1)
    for kind, answer in ODD.items():
        for ask in adapted.asks():
            adapted.account.server.instead = [answer] * 3
            try:
                told = repr(await ask())
            except CrmError as error:
                told = f"{error!r} {error} {error.__cause__}"
            assert "token-1" not in told, kind
            assert "Ada.Lovelace" not in told, kind


async def test_an_answer_without_end_is_broken(adapted: Adapted) -> None:
    adapted.add(1)
    async with HttpClient(most_bytes=1 << 16) as http:
        crm = adapted.account.crm(http, adapted.key)
        adapted.account.server.instead = [JSONResponse({"data": "x" * (1 << 17)})]
        with pytest.raises(Broken):
            await crm.changed(None, adapted.properties, 10)
