"""Pipedrive's own ways: names as one text, several addresses to a person, statuses that stay, calls that cost, one write a call."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, PlainTextResponse, Response

import services.integrations.crm.pipedrive
from services.integrations.crm.errors import (
    Broken,
    CrmError,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Rejected,
)
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.pipedrive import Pipedrive
from services.integrations.crm.records import Activity, Change, Kind, Person, Property, Value
from services.integrations.crm.tests.servers.keys import Key
from services.integrations.crm.tests.servers.pipedrive import (
    BIRTHDAY,
    BUDGET,
    COLOUR,
    LIKES,
    MEMBER,
    NOTE,
    OPT_OUT,
    OPT_OUT_FIELD,
    POINTS,
    PipedriveCompany,
)
from services.integrations.crm.tests.servers.serving import serving

FIRST, LAST = Property("first_name", "First name", Kind.TEXT), Property("last_name", "Last name", Kind.TEXT)
NAMES = [FIRST, LAST]


@pytest.fixture
async def company() -> PipedriveCompany:
    return PipedriveCompany()


@pytest_asyncio.fixture
async def pipedrive(company: PipedriveCompany, http: HttpClient) -> AsyncIterator[Pipedrive]:
    async with serving(company.app()) as url:
        yield Pipedrive(http, Key(url))


def entry(value: str, *, primary: bool = True, label: str = "work") -> dict[str, object]:
    return {"value": value, "primary": primary, "label": label}


async def test_properties_have_their_kinds_and_amounts_are_only_read(pipedrive: Pipedrive) -> None:
    properties = {each.name: each for each in await pipedrive.properties()}
    assert {name: each.kind for name, each in properties.items()} == {
        "first_name": Kind.TEXT,
        "last_name": Kind.TEXT,
        "name": Kind.TEXT,
        "phone": Kind.TEXT,
        "add_time": Kind.MOMENT,
        POINTS: Kind.NUMBER,
        MEMBER: Kind.YES_NO,
        BIRTHDAY: Kind.DATE,
        COLOUR: Kind.CHOICE,
        LIKES: Kind.CHOICES,
        BUDGET: Kind.NUMBER,
        NOTE: Kind.TEXT,
    }
    assert not any(properties[name].is_writable for name in ("name", "add_time", BUDGET))
    assert [(choice.value, choice.label) for choice in properties[COLOUR].choices] == [
        ("11", "Red"),
        ("12", "Blue"),
    ]
    assert (await pipedrive.account()).name == "Ferro"


async def test_what_is_written_is_read_as_it_was_given(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    properties = await pipedrive.properties()
    values: dict[str, Value] = {
        "first_name": "Zoë",
        "last_name": "van Berg",
        "phone": "+31 20 1",
        POINTS: Decimal("12.5"),
        MEMBER: True,
        BIRTHDAY: date(1815, 12, 10),
        COLOUR: "12",
        LIKES: ("21", "22"),
        NOTE: "<b>",
    }
    (made,) = await pipedrive.write([Change(None, "zoe@example.com", values)], properties)
    assert made.id is not None
    company.edit(made.id, {BUDGET: {"value": 5, "currency": "EUR"}})
    found = (await pipedrive.find(["zoe@example.com"], properties))["zoe@example.com"]
    assert {name: found.properties[name] for name in values} == values
    assert (found.properties["name"], found.properties[BUDGET]) == ("Zoë van Berg", Decimal(5))
    nothing: dict[str, Value] = {name: None for name in values if name != "first_name"}
    (outcome,) = await pipedrive.write([Change(made.id, "zoe@example.com", nothing)], properties)
    assert outcome.id == made.id
    emptied = (await pipedrive.read([made.id], properties))[made.id].properties
    assert {name: emptied[name] for name in values} == {**nothing, "first_name": "Zoë"}


async def test_a_name_that_would_be_taken_apart_otherwise_is_not_written(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    for names in (("Mary Ann", "Smith"), (None, "Smith"), ("a@b", None)):
        values: dict[str, Value] = dict(zip(("first_name", "last_name"), names, strict=True))
        (outcome,) = await pipedrive.write([Change(None, "mary@example.com", values)], NAMES)
        assert outcome.id is None
        assert "apart" in outcome.error
    assert not company.persons


async def test_names_that_people_have_taken_apart_themselves_are_read_so_and_stay(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    mary = company.add("mary@example.com", "Mary Ann Smith", first_name="Mary Ann", last_name="Smith")
    read = (await pipedrive.read([mary], NAMES))[mary]
    assert read.properties == {"first_name": "Mary Ann", "last_name": "Smith"}
    (outcome,) = await pipedrive.write([Change(mary, "mary@example.com", dict(read.properties))], NAMES)
    assert (outcome.id, [call for call in company.calls if call.startswith("PATCH")]) == (mary, [])


async def test_further_addresses_stay_when_the_one_that_counts_is_written(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ada = company.add(
        None, "Ada", emails=[entry("old@example.com", label="home"), entry("b@example.com", primary=False)]
    )
    await pipedrive.write([Change(ada, "new@example.com", {})], [])
    assert company.persons[ada]["emails"] == [
        entry("new@example.com", label="home"),
        entry("b@example.com", primary=False),
    ]
    await pipedrive.write([Change(ada, "B@example.com", {})], [])
    assert company.persons[ada]["emails"] == [entry("B@example.com", label="home")]


async def test_somebody_who_has_an_address_among_others_is_neither_taken_for_its_owner_nor_doubled(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    company.add(None, "Ada", emails=[entry("ada@example.com"), entry("team@example.com", primary=False)])
    assert not await pipedrive.find(["team@example.com"], NAMES)
    (outcome,) = await pipedrive.write([Change(None, "team@example.com", {})], NAMES)
    assert outcome.error
    assert len(company.persons) == 1
    team = company.add("team@example.com", "Team")
    assert (await pipedrive.write([Change(None, "TEAM@example.com", {})], NAMES))[0].id == team


async def test_of_several_with_one_address_it_is_the_oldest(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    first, _ = company.add("ada@example.com", "Ada"), company.add("ADA@example.com", "Ada")
    assert (await pipedrive.find(["ada@example.com"], NAMES))["ada@example.com"].id == first


async def test_a_status_that_may_not_be_changed_again_is_told(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ada = company.add("ada@example.com", "Ada", marketing_status="subscribed")
    company.settled_statuses.add(ada)
    (outcome,) = await pipedrive.opt_out([Person(ada, "ada@example.com")])
    assert (outcome.id, outcome.is_retryable) == (None, False)
    assert not (await pipedrive.read([ada], []))[ada].opted_out


async def test_without_campaigns_a_field_of_the_account_says_who_has_opted_out(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    company.more_fields = [OPT_OUT_FIELD]
    ada, bob = company.add("ada@example.com", "Ada"), company.add("bob@example.com", "Bob")
    assert OPT_OUT not in {each.name for each in await pipedrive.properties()}
    (outcome,) = await pipedrive.opt_out([Person(ada, "ada@example.com")])
    assert outcome.id == ada
    company.edit(bob, {OPT_OUT: "told me on the phone"})
    page = await pipedrive.changed(None, NAMES, 10)
    assert [record.opted_out for record in page.records] == [True, True]


async def test_with_neither_the_opt_out_is_refused_and_what_to_do_is_told(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    company.more_fields = []
    ada = company.add("ada@example.com", "Ada")
    (outcome,) = await pipedrive.opt_out([Person(ada, "ada@example.com")])
    assert OPT_OUT_FIELD["field_name"] in outcome.error
    assert not (await pipedrive.read([ada], []))[ada].opted_out


async def test_more_fields_than_may_be_asked_for_are_had_by_all_of_them(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ada = company.add("ada@example.com", "Ada", custom={POINTS: 7})
    many = [Property(POINTS, "Points", Kind.NUMBER)] + [
        Property(f"{number:040}", "Unknown", Kind.TEXT) for number in range(20)
    ]
    assert (await pipedrive.read([ada], many))[ada].properties[POINTS] == 7


async def test_a_cursor_of_theirs_that_is_no_good_any_more_costs_no_more_than_its_second(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ids = [company.add(f"reader{number}@example.com", "Reader") for number in range(6)]
    page = await pipedrive.changed(None, NAMES, 4)
    company.instead = [JSONResponse({"success": False, "error": "cursor"}, 400)]
    behind = await pipedrive.changed(page.cursor, NAMES, 4)
    assert (behind.records, behind.is_last) == ([], False)
    rest = await pipedrive.changed(behind.cursor, NAMES, 4)
    assert [record.id for record in rest.records] == ids[3:]


async def test_of_a_batch_what_goes_before_a_limit_is_known_and_the_rest_is_not_begun_again(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ids = [company.add(f"reader{number}@example.com", "Reader") for number in range(9)]
    changes = [
        Change(id_, f"reader{place}@example.com", {"first_name": "New"}) for place, id_ in enumerate(ids)
    ]
    limit = JSONResponse({}, 429, {"x-ratelimit-reset": "2"})
    company.instead_of_writes = [None, None, None, None, limit, limit, limit, limit]
    outcomes = await pipedrive.write(changes, NAMES)
    assert [outcome.id for outcome in outcomes] == ids[:4]
    company.instead_of_writes = [limit] * 4
    with pytest.raises(RateLimited) as wait:
        await pipedrive.write(changes[4:], NAMES)
    assert wait.value.retry_after == 2
    assert [outcome.id for outcome in await pipedrive.write(changes[4:], NAMES)] == ids[4:]


async def test_who_fails_between_others_may_do_later(company: PipedriveCompany, pipedrive: Pipedrive) -> None:
    ids = [company.add(f"reader{number}@example.com", "Reader") for number in range(2)]
    activities = [Activity(f"event-{id_}", id_, "Opened", "Newsletter", datetime.now(UTC)) for id_ in ids]
    company.instead_of_writes = [JSONResponse({}, 500)]
    outcomes = await pipedrive.log(activities)
    assert len(outcomes) in (1, 2)
    failed = [
        activity for activity, outcome in zip(activities, outcomes, strict=False) if outcome.is_retryable
    ]
    shown = await pipedrive.logged(activities)
    assert not shown & {activity.id for activity in failed}
    assert len(company.activities) == 1


async def test_searches_that_are_too_many_wait_for_their_turn(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ada = company.add("ada@example.com", "Ada")
    company.instead = [JSONResponse({}, 429, {"x-ratelimit-reset": "0"})] * 5
    assert (await pipedrive.find(["ada@example.com"], []))["ada@example.com"].id == ada


async def test_many_are_looked_for_in_the_list_and_who_was_just_found_to_be_nobody_is_not_looked_for_again(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    emails = [f"r{number}@example.com" for number in range(8)]
    known = company.add("R3@example.com", "Known")
    assert [record.id for record in (await pipedrive.find(emails, [])).values()] == [known]
    changes = [Change(None, email, {}) for email in emails if email != "r3@example.com"]
    company.calls.clear()
    company.instead_of_writes = [JSONResponse({}, 500)] * 4
    with pytest.raises(Broken):
        await pipedrive.write(changes, [])
    assert {call.split()[0] for call in company.calls} <= {"POST"}
    # How those have ended is not known: they are looked for.
    outcomes = await pipedrive.write(changes, [])
    assert "GET /api/v2/persons" in company.calls
    assert [outcome.id for outcome in await pipedrive.write(changes, [])] == [
        outcome.id for outcome in outcomes
    ]
    assert "GET /api/v2/persons/search" not in company.calls
    assert len(company.persons) == len(emails)


async def test_in_a_list_that_is_longer_than_searches_cost_they_are_searched_for(
    company: PipedriveCompany, pipedrive: Pipedrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.integrations.crm.pipedrive, "_MOST_OF_A_LIST", 1)
    ids = [company.add(f"r{number}@example.com", "R") for number in range(14)]
    found = await pipedrive.find([f"r{number}@example.com" for number in range(6)], [])
    assert [record.id for record in found.values()] == ids[:6]
    assert "GET /api/v2/persons/search" in company.calls


async def test_a_key_of_the_account_goes_in_a_header_of_its_own(
    company: PipedriveCompany, http: HttpClient
) -> None:
    async with serving(company.app()) as url:
        assert (await Pipedrive(http, Key(url, is_api_key=True)).account()).id == "4711"


async def test_activities_are_done_and_of_who_they_are_about_and_hold_no_markup_of_others(
    company: PipedriveCompany, pipedrive: Pipedrive
) -> None:
    ada = company.add("ada@example.com", "Ada")
    at = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)
    await pipedrive.log([Activity("event-1", ada, "Clicked", "<img src=x>\nhttps://x.test/?a&b", at)])
    (shown,) = company.activities
    assert (shown["done"], shown["due_date"], shown["due_time"]) == (True, "2026-11-29", "08:30")
    assert shown["participants"] == [{"person_id": int(ada), "primary": True}]
    assert shown["note"] == "&lt;img src=x&gt;<br>https://x.test/?a&amp;b<br>[FlowNurture event-1]"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            JSONResponse({}, 429, {"x-daily-ratelimit-token-remaining": "0", "Retry-After": "1"}),
            QuotaExhausted,
        ),
        (
            JSONResponse({}, 429, {"x-daily-ratelimit-token-remaining": "12", "x-ratelimit-reset": "2"}),
            RateLimited,
        ),
        (JSONResponse({}, 429, {"x-ratelimit-reset": "1764403200"}), RateLimited),
        (PlainTextResponse("<html>blocked", 403), RateLimited),
        (JSONResponse({"error": "limit of custom fields"}, 403), Forbidden),
        (JSONResponse({}, 402), Forbidden),
        (JSONResponse({}, 404), Rejected),
    ],
    ids=["of the day", "of a burst", "no seconds", "kept out", "forbidden", "not open", "not found"],
)
async def test_what_stands_against_a_call_is_told_by_its_kind(
    company: PipedriveCompany, pipedrive: Pipedrive, answer: Response, expected: type[CrmError]
) -> None:
    company.instead = [answer]
    with pytest.raises(expected) as error:
        await pipedrive.account()
    if isinstance(error.value, RateLimited):
        assert error.value.retry_after in (2, 600)
