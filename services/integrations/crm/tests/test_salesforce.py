"""Salesforce's org is read whole and once, by queries or by a job; it is written in collections, whose every row has its own end."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from starlette.responses import JSONResponse

from services.integrations.crm.errors import (
    Broken,
    CrmError,
    CursorLost,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Rejected,
)
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.records import (
    Activity,
    Change,
    Kind,
    Property,
    Record,
    Value,
)
from services.integrations.crm.salesforce import Salesforce
from services.integrations.crm.tests.servers.keys import Key
from services.integrations.crm.tests.servers.salesforce import SalesforceOrg
from services.integrations.crm.tests.servers.serving import serving

NAMES = [Property("FirstName", "First Name", Kind.TEXT)]


@pytest.fixture
async def org() -> SalesforceOrg:
    return SalesforceOrg()


@pytest.fixture
async def salesforce(org: SalesforceOrg, http: HttpClient) -> AsyncIterator[Salesforce]:
    async with serving(org.app()) as url:
        yield Salesforce(http, Key(url))


async def walk(
    salesforce: Salesforce, cursor: str | None = None, limit: int = 3
) -> tuple[list[Record], str, list[float]]:
    """Everything that has changed, where it ended, and which waits it asked for."""
    records: list[Record] = []
    waits = []
    while True:
        page = await salesforce.changed(cursor, NAMES, limit)
        records += page.records
        cursor = page.cursor
        assert len(cursor) <= 1_024
        if page.wait:
            waits.append(page.wait)
        if page.is_last:
            return records, cursor, waits


async def test_who_was_deleted_is_among_those_who_changed(org: SalesforceOrg, salesforce: Salesforce) -> None:
    ids = [org.add(f"reader{number}@example.com") for number in range(5)]
    _, cursor, _ = await walk(salesforce)
    org.edit(ids[4], IsDeleted=True)
    changed, _, _ = await walk(salesforce, cursor)
    assert [(record.id, record.is_archived) for record in changed] == [(ids[4], True)]


async def test_those_who_changed_in_one_moment_are_gone_through_by_id(
    org: SalesforceOrg, salesforce: Salesforce
) -> None:
    ids = [org.add(f"reader{number}@example.com") for number in range(8)]
    for contact in org.contacts.values():
        contact["SystemModstamp"] = org.contacts[ids[0]]["SystemModstamp"]
    records, _, _ = await walk(salesforce)
    assert [record.id for record in records] == ids


async def test_a_large_org_is_read_by_a_job_and_then_what_changed_meanwhile(
    org: SalesforceOrg, salesforce: Salesforce
) -> None:
    ids = [org.add(f"reader{number}@example.com", FirstName='Zoë, "the"\nfirst') for number in range(8)]
    org.now = datetime.now(UTC)
    org.edit(ids[5], FirstName="Meanwhile")
    org.seeming = 10_000
    records, cursor, waits = await walk(salesforce)
    assert [record.id for record in records[:8]] == ids
    assert records[0].properties["FirstName"] == 'Zoë, "the"\nfirst'
    assert [record.id for record in records[8:]] == [ids[5]]
    assert len(waits) == 2
    assert "750" not in cursor


async def test_a_job_that_failed_or_is_gone_has_the_walk_begin_anew(
    org: SalesforceOrg, salesforce: Salesforce
) -> None:
    org.seeming, org.job_states = 10_000, ["Failed"]
    page = await salesforce.changed(None, NAMES, 10)
    with pytest.raises(CursorLost):
        await salesforce.changed(page.cursor, NAMES, 10)
    org.instead = [JSONResponse([{"errorCode": "NOT_FOUND", "message": ""}], 404)]
    with pytest.raises(CursorLost):
        await salesforce.changed(page.cursor, NAMES, 10)


async def test_properties_have_their_kinds_and_what_has_several_parts_is_left_out(
    salesforce: Salesforce,
) -> None:
    properties = {each.name: each for each in await salesforce.properties()}
    assert {name: each.kind for name, each in properties.items()} == {
        "FirstName": Kind.TEXT,
        "LastName": Kind.TEXT,
        "Points__c": Kind.NUMBER,
        "Member__c": Kind.YES_NO,
        "Birthdate": Kind.DATE,
        "Seen__c": Kind.MOMENT,
        "Colour__c": Kind.CHOICE,
        "Likes__c": Kind.CHOICES,
        "Score__c": Kind.NUMBER,
    }
    assert not properties["Score__c"].is_writable
    assert [choice.value for choice in properties["Colour__c"].choices] == ["red"]
    assert (await salesforce.account()).name == "Ferro"


async def test_what_is_written_is_read_as_it_was_given(org: SalesforceOrg, salesforce: Salesforce) -> None:
    properties = await salesforce.properties()
    values: dict[str, Value] = {
        "FirstName": "Zoë 'the' \\first",
        "Points__c": Decimal("12.5"),
        "Member__c": True,
        "Birthdate": date(1815, 12, 10),
        "Seen__c": datetime(2026, 11, 29, 8, 30, tzinfo=UTC),
        "Colour__c": "red",
        "Likes__c": ("a", "b"),
    }
    (made,) = await salesforce.write([Change(None, "o'hara@example.com", values)], properties)
    assert made.id is not None
    found = (await salesforce.find(["o'hara@example.com", "x@example.com"], properties))["o'hara@example.com"]
    assert {name: found.properties[name] for name in values} == values
    # Nobody is without a last name there; what stands in for one is none.
    assert (org.contacts[made.id]["LastName"], found.properties["LastName"]) == ("o'hara@example.com", None)
    await salesforce.write([Change(made.id, "o'hara@example.com", {"Points__c": None})], properties)
    assert (await salesforce.read([made.id, "003none"], properties))[made.id].properties["Points__c"] is None


async def test_each_row_has_its_own_outcome(org: SalesforceOrg, salesforce: Salesforce) -> None:
    ada, bob = org.add("ada@example.com"), org.add("bob@example.com")
    outcomes = await salesforce.write(
        [
            Change(ada, "ada@example.com", {"FirstName": "Ada"}),
            Change("003gone", "gone@example.com", {}),
            Change(bob, "bob@example.com", {"FirstName": "locked"}),
        ],
        NAMES,
    )
    assert [outcome.id for outcome in outcomes] == [ada, None, None]
    assert [outcome.is_retryable for outcome in outcomes] == [False, False, True]


async def test_two_hundred_at_most_go_in_one_call(org: SalesforceOrg, salesforce: Salesforce) -> None:
    changes = [Change(None, f"r{number}@example.com", {}) for number in range(450)]
    outcomes = await salesforce.write(changes, NAMES)
    assert len(outcomes) == 200
    org.cut_at = 30
    assert len(await salesforce.find([change.email for change in changes], NAMES)) == 200


async def test_activities_are_shown_and_found_again(org: SalesforceOrg, salesforce: Salesforce) -> None:
    ada = org.add("ada@example.com")
    activities = [
        Activity(f"event-{number}", ada, "Opened 'it' " + "x" * 300, "Newsletter", org.now)
        for number in range(40)
    ]
    assert all(outcome.id for outcome in await salesforce.log(activities[:30]))
    assert await salesforce.logged(activities) == {activity.id for activity in activities[:30]}
    assert all(len(task["Subject"]) <= 255 for task in org.tasks)


async def test_an_answer_that_goes_on_elsewhere_is_not_followed(
    org: SalesforceOrg, salesforce: Salesforce
) -> None:
    org.instead = [
        JSONResponse({"done": False, "records": [], "nextRecordsUrl": "https://evil.test/services/data/"})
    ]
    with pytest.raises(Broken):
        await salesforce.account()


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (
            403,
            {"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."},
            QuotaExhausted,
        ),
        (
            403,
            {
                "errorCode": "REQUEST_LIMIT_EXCEEDED",
                "message": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            },
            RateLimited,
        ),
        (403, {"errorCode": "INSUFFICIENT_ACCESS", "message": "token-1"}, Forbidden),
        (400, {"errorCode": "MALFORMED_QUERY", "message": "token-1"}, Rejected),
        (503, {"errorCode": "SERVER_UNAVAILABLE", "message": ""}, Broken),
    ],
    ids=["of a day", "at a moment", "forbidden", "malformed", "unavailable"],
)
async def test_what_stands_against_a_call_is_told_by_its_kind_and_without_secrets(
    org: SalesforceOrg, salesforce: Salesforce, status: int, error: dict[str, str], expected: type[CrmError]
) -> None:
    org.instead = [JSONResponse([error], status)]
    with pytest.raises(expected) as told:
        await salesforce.account()
    assert "token-1" not in str(told.value)
