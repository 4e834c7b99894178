"""HubSpot's account is read whole and once, whatever happens meanwhile; it is written part by part, and each part's end is known."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from starlette.responses import JSONResponse

from services.integrations.crm.errors import (
    Broken,
    CrmError,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Rejected,
)
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.hubspot import HubSpot
from services.integrations.crm.records import (
    Activity,
    Change,
    Kind,
    Outcome,
    Person,
    Property,
    Value,
)
from services.integrations.crm.tests.servers.hubspot import READ_ONLY, HubSpotAccount
from services.integrations.crm.tests.servers.keys import Key
from services.integrations.crm.tests.servers.serving import serving

NAMES = [Property("firstname", "First name", Kind.TEXT)]


@pytest.fixture
async def account() -> HubSpotAccount:
    return HubSpotAccount()


@pytest.fixture
async def hubspot(account: HubSpotAccount, http: HttpClient) -> AsyncIterator[HubSpot]:
    async with serving(account.app()) as url:
        yield HubSpot(http, Key(url))


async def test_what_the_index_of_searches_learns_late_comes_with_the_next_walk(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    account.now = datetime.now(UTC)
    seen, hidden, newer = (account.add(f"{name}@example.com") for name in ("seen", "hidden", "newer"))
    account.not_indexed = {hidden}
    page = await hubspot.changed(None, NAMES, 10)
    assert [record.id for record in page.records] == [seen, newer]
    account.not_indexed = set()
    again = await hubspot.changed(page.cursor, NAMES, 10)
    assert hidden in {record.id for record in again.records}


async def test_properties_have_their_kinds_and_those_that_nobody_sees_are_left_out(hubspot: HubSpot) -> None:
    kinds = {each.name: each.kind for each in await hubspot.properties()}
    assert kinds == {
        "firstname": Kind.TEXT,
        "lastname": Kind.TEXT,
        "points": Kind.NUMBER,
        "member": Kind.YES_NO,
        "birthday": Kind.DATE,
        "seen": Kind.MOMENT,
        "colour": Kind.CHOICE,
        "likes": Kind.CHOICES,
        READ_ONLY: Kind.NUMBER,
    }
    (score,) = [each for each in await hubspot.properties() if each.name == READ_ONLY]
    assert not score.is_writable
    assert (await hubspot.account()).id == "4711"


async def test_what_is_written_is_read_as_it_was_given(account: HubSpotAccount, hubspot: HubSpot) -> None:
    properties = await hubspot.properties()
    values: dict[str, Value] = {
        "firstname": 'Zoë; "the" <first>',
        "points": Decimal("12.50"),
        "member": True,
        "birthday": date(1815, 12, 10),
        "seen": datetime(2026, 11, 29, 8, 30, tzinfo=UTC),
        "colour": "red",
        "likes": ("a", "b"),
    }
    (made,) = await hubspot.write([Change(None, "Zoe@example.com", values)], properties)
    assert made.id is not None
    found = (await hubspot.find(["zoe@example.com", "nobody@example.com"], properties))["zoe@example.com"]
    assert {name: found.properties[name] for name in values} == values
    (again,) = await hubspot.write([Change(made.id, "zoe@example.com", {"points": None})], properties)
    assert again.id == made.id
    assert (await hubspot.read([made.id], properties))[made.id].properties["points"] is None


async def test_a_value_that_is_not_what_its_property_says_is_left_out(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    broken = account.add("x@example.com", points="many", seen="yesterday", member="maybe", firstname="Ada")
    found = (await hubspot.read([broken], await hubspot.properties()))[broken]
    assert found.properties["firstname"] == "Ada"
    assert not {"points", "seen", "member"} & found.properties.keys()


async def test_each_of_a_batch_has_its_own_outcome_in_whatever_order_it_is_told(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    ada, bob = account.add("ada@example.com"), account.add("bob@example.com")
    changes = [
        Change(ada, "ada@example.com", {"firstname": "Ada"}),
        Change("999", "gone@example.com", {"firstname": "Gone"}),
        Change(bob, "ada@example.com", {"firstname": "Bob"}),
    ]
    outcomes = await hubspot.write(changes, NAMES)
    assert [outcome.id for outcome in outcomes] == [ada, None, None]
    assert all(outcome.error and not outcome.is_retryable for outcome in outcomes[1:])


async def test_of_a_batch_that_is_refused_as_a_whole_the_one_who_is_meant_is_found(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    changes = [
        Change(None, f"r{number}@example.com", {"firstname": "R"} if number != 5 else {"no_such": "x"})
        for number in range(8)
    ]
    outcomes: list[Outcome] = []
    while len(outcomes) < len(changes):
        outcomes += await hubspot.write(changes[len(outcomes) :], NAMES)
    assert [place for place, outcome in enumerate(outcomes) if outcome.id is None] == [5]
    assert len(account.contacts) == 7


async def test_known_and_new_ones_and_repeated_addresses_go_in_calls_of_their_own(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    ada = account.add("ada@example.com")
    changes = [
        Change(ada, "ada@example.com", {}),
        Change(None, "new@example.com", {}),
        Change(None, "NEW@example.com", {}),
    ]
    assert [len(await hubspot.write(changes[start:], NAMES)) for start in range(3)] == [1, 1, 1]


async def test_a_hundred_at_most_go_in_one_call(account: HubSpotAccount, hubspot: HubSpot) -> None:
    emails = [f"r{number}@example.com" for number in range(250)]
    changes = [Change(None, email, {}) for email in emails]
    assert len(await hubspot.write(changes, NAMES)) == 100
    for email in emails[100:]:
        account.add(email)
    assert len(await hubspot.find(emails, NAMES)) == 250


async def test_a_note_holds_no_markup_of_others(account: HubSpotAccount, hubspot: HubSpot) -> None:
    ada = account.add("ada@example.com")
    at = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)
    await hubspot.log([Activity("event-1", ada, "<b>Clicked", "<img src=x>\nhttps://x.test/?a&b", at)])
    (shown,) = account.notes
    expected = "&lt;b&gt;Clicked<br>&lt;img src=x&gt;<br>https://x.test/?a&amp;b<br>[FlowNurture event-1]"
    assert shown["properties"]["hs_note_body"] == expected


async def test_an_opt_out_that_the_crm_does_not_take_keeps_no_other_waiting(
    account: HubSpotAccount, hubspot: HubSpot
) -> None:
    ada = account.add("ada@example.com")
    outcomes = await hubspot.opt_out([Person(ada, "Ada@example.com"), Person("7", "no address")])
    assert [outcome.id for outcome in outcomes] == [ada, None]
    assert (await hubspot.read([ada], NAMES))[ada].opted_out


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (JSONResponse({"policyName": "TEN_SECONDLY_ROLLING"}, 429, {"Retry-After": "7"}), RateLimited),
        (JSONResponse({"policyName": "SECONDLY"}, 429), RateLimited),
        (JSONResponse({"policyName": "DAILY"}, 429), QuotaExhausted),
        (JSONResponse({"category": "MISSING_SCOPES"}, 403), Forbidden),
        (JSONResponse({"category": "VALIDATION_ERROR", "message": "token-1 is secret"}, 400), Rejected),
        (JSONResponse({}, 500), Broken),
        (JSONResponse({}, 503, {"Retry-After": "9"}), RateLimited),
        (JSONResponse("no object", 418), Rejected),
    ],
)
async def test_what_stands_against_a_call_is_told_by_its_kind_and_without_secrets(
    account: HubSpotAccount,
    hubspot: HubSpot,
    answer: JSONResponse,
    expected: type[CrmError],
) -> None:
    account.instead = [answer]
    with pytest.raises(expected) as error:
        await hubspot.account()
    assert "token-1" not in str(error.value)
    if isinstance(error.value, RateLimited):
        assert error.value.retry_after == float(answer.headers.get("Retry-After", 10))


async def test_missing_scopes_are_named(account: HubSpotAccount, hubspot: HubSpot) -> None:
    context = {"requiredGranularScopes": ["crm.objects.contacts.write"]}
    account.instead = [
        JSONResponse({"category": "MISSING_SCOPES", "errors": [{"message": "", "context": context}]}, 403)
    ]
    with pytest.raises(Forbidden) as error:
        await hubspot.account()
    assert error.value.scopes == ("crm.objects.contacts.write",)


async def test_answers_of_another_form_are_told_to_be_so(account: HubSpotAccount, hubspot: HubSpot) -> None:
    answers: list[dict[str, object]] = [{}, {"results": {}}, {"results": [{"id": "1"}]}, {"results": ["x"]}]
    for told in answers:
        account.instead = [JSONResponse(told)]
        with pytest.raises(Broken):
            await hubspot.changed(None, NAMES, 10)
