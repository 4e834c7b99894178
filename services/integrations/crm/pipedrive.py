"""Pipedrive: its API v2 (https://developers.pipedrive.com/docs/api/v1), and v1 for what v2 has not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, TypeVar

import orjson

from services.integrations.crm.adapter import Access
from services.integrations.crm.batches import of_one_kind
from services.integrations.crm.calls import Calls, listed, published_form
from services.integrations.crm.errors import (
    CrmError,
    CursorLost,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Rejected,
)
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.oauth import Endpoints, told_by
from services.integrations.crm.pipedrive_values import (
    OWN_PROPERTIES,
    custom_keys,
    moment_of,
    moment_text,
    primary,
    property_of,
    values_of,
)
from services.integrations.crm.pipedrive_writing import PERSONS, Writer, data_of, outcome_of
from services.integrations.crm.provider import Addresses, Provider
from services.integrations.crm.records import (
    Account,
    Activity,
    Change,
    Outcome,
    Page,
    Person,
    Property,
    Record,
)

Given = TypeVar("Given")
Found = TypeVar("Found")

_ACTIVITIES, _FIELDS = "/api/v2/activities", "/api/v2/personFields"
# In which header a key of the account's own goes.
_KEY_HEADER = "x-api-token"
_MOST_OF_A_LIST = 500
_MOST_IDS = 100
# Of custom fields, that a list can be asked for; more are had by all of them.
_MOST_KEYS = 15
# Each person is written by a call of its own: so many to a batch, and so many at a time.
_MOST_OF_A_BATCH = 40
_AT_A_TIME = 4
# A search costs as much as two pages of the list of all persons, so that more addresses than these are looked for in the list.
_FEW_ADDRESSES = 5
_PAGES_OF_A_SEARCH = 2
# Searches may be ten in two seconds: who is told to wait no longer than this waits, rather than lose what was found.
_MOST_WAIT = timedelta(seconds=10)
_MOST_WAITS = 60
# Where the account has Campaigns, persons have this; elsewhere an administrator may make a text field of this name.
_STATUS, _UNSUBSCRIBED = "marketing_status", "unsubscribed"
OPT_OUT_FIELD = "FlowNurture opt-out"
_OPTED_OUT = "Opted out"
# What changed in the last moments may not be listed yet.
_MARGIN = timedelta(minutes=2)
# The budget is renewed when the day begins, where the account's servers are: asking each hour costs nothing that is left.
_UNTIL_ASKED_AGAIN = timedelta(hours=1)
_BURST_SECONDS = 2.0
# Who goes on in spite of being told to wait is kept out by a page that is no answer of the API.
_KEPT_OUT_SECONDS = 600.0
_SECOND = timedelta(seconds=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(days=1)


def _endpoints(addresses: Addresses) -> Endpoints:
    """The app shows itself by HTTP Basic; answers with tokens name the company's own address."""
    return Endpoints(
        f"{addresses.consent}/oauth/authorize",
        f"{addresses.tokens}/oauth/token",
        f"{addresses.tokens}/oauth/revoke",
        told_by("api_domain", ("pipedrive.com",), addresses.api),
        is_basic=True,
    )


@dataclass(frozen=True, slots=True)
class _OptOuts:
    """Where an account keeps who has opted out: by Campaigns, in a custom field, or nowhere."""

    by_campaigns: bool
    field: str = ""

    def said_by(self, told: Mapping[str, Any]) -> bool:
        """Whether a person has opted out."""
        if self.by_campaigns:
            return bool(told.get(_STATUS) == _UNSUBSCRIBED)
        return bool(self.field and (told.get("custom_fields") or {}).get(self.field))

    def change(self) -> dict[str, Any]:
        """What to write to have it said."""
        return {_STATUS: _UNSUBSCRIBED} if self.by_campaigns else {"custom_fields": {self.field: _OPTED_OUT}}


class Pipedrive:
    """One company: a `Crm`. Its contacts are persons."""

    def __init__(self, http: HttpClient, access: Access) -> None:
        self._calls = Calls(http, access, _refusal, key_header=_KEY_HEADER)
        self._known_opt_outs: _OptOuts | None = None
        # Addresses that were just found to be nobody's, by which no two persons are made.
        self._nobodys: set[str] = set()

    async def account(self) -> Account:
        """By the company of who connects it (https://developers.pipedrive.com/docs/api/v1/Users#getCurrentUser)."""
        told = data_of(await self._calls.send("GET", "/api/v1/users/me"))
        with published_form():
            return Account(str(told["company_id"]), str(told["company_name"]))

    async def properties(self) -> Sequence[Property]:
        """Names, phone, and custom fields, apart from the one that says who has opted out."""
        fields = await self._list(_FIELDS, {})
        opt_outs = _opt_outs(fields)
        with published_form():
            custom = [property_of(each) for each in fields if each["field_code"] != opt_outs.field]
        return [*OWN_PROPERTIES, *(each for each in custom if each is not None)]

    async def newest(self, properties: Sequence[Property], limit: int) -> Sequence[Record]:
        """By time, of which Pipedrive has seconds."""
        opt_outs = await self._opt_outs()
        query = {
            "sort_by": "update_time",
            "sort_direction": "desc",
            "limit": str(min(limit, _MOST_OF_A_LIST)),
            **_asked_keys(properties, opt_outs),
        }
        told = (await self._calls.send("GET", PERSONS, query=query)).object()
        return [_record(each, properties, opt_outs) for each in listed(told.get("data"))]

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        """By time, of which Pipedrive has seconds, and with its own cursor within a walk. Who was deleted or merged away is in no list."""
        place = _Place.read(cursor)
        opt_outs = await self._opt_outs()
        query = {
            "sort_by": "update_time",
            "sort_direction": "asc",
            "limit": str(min(limit, _MOST_OF_A_LIST)),
            **_asked_keys(properties, opt_outs),
            **place.query(),
        }
        try:
            answer = await self._calls.send("GET", PERSONS, query=query)
        except Rejected:
            if not place.at:
                raise
            # A cursor of theirs that is not good any more: what comes again is less than all.
            return Page([], _Place(place.reached, place.reached).text(), is_last=False)
        told = answer.object()
        records = [_record(each, properties, opt_outs) for each in listed(told.get("data"))]
        reached = max((record.modified_at for record in records), default=place.reached)
        if following := _following(told):
            return Page(records, _Place(place.after, reached, following).text(), is_last=False)
        if not records:
            return Page([], _Place(reached, reached).text(), is_last=True)
        # Behind the last second that is settled: all of it was told.
        after = max(place.after, min(reached.replace(microsecond=0) + _SECOND, answer.sent_at() - _MARGIN))
        return Page(records, _Place(after, after).text(), is_last=True)

    async def read(self, ids: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By their ids, a hundred a call."""
        opt_outs = await self._opt_outs()
        persons = await self._persons(ids, _asked_keys(properties, opt_outs))
        return {id_: _record(told, properties, opt_outs) for id_, told in persons.items()}

    async def find(self, emails: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By a search for each, in which capitals do not count, or in the list of all; only by the address that counts of somebody who has several."""
        hits = await self._owners(emails)
        self._nobodys = {email.lower() for email, ids in zip(emails, hits, strict=True) if not ids}
        records = await self.read(sorted({id_ for ids in hits for id_ in ids}, key=int), properties)
        found: dict[str, Record] = {}
        for record in records.values():
            found.setdefault((record.email or "").lower(), record)
        return {email.lower(): found[email.lower()] for email in emails if email.lower() in found}

    async def write(self, changes: Sequence[Change], properties: Sequence[Property]) -> Sequence[Outcome]:
        """One by one, and only what differs: addresses are written all together, and a name as a whole, so that what stands is read first."""
        some = of_one_kind(changes, _MOST_OF_A_BATCH)
        hits = [] if some[0].id else await self._owners_unless_nobodys([each.email for each in some])
        ids = [each.id for each in some if each.id] + [id_ for known in hits for id_ in known]
        persons = await self._persons(ids, {})
        writer = Writer(self._calls, properties, persons)

        async def write(place: int) -> Outcome:
            return await writer.write(some[place], hits[place] if hits else [str(some[place].id)])

        return await self._outcomes(range(len(some)), write)

    async def opt_out(self, people: Sequence[Person]) -> Sequence[Outcome]:
        """By the marketing status where the account has Campaigns, else by a text field that an administrator has made for it."""
        opt_outs = await self._opt_outs()
        some = people[:_MOST_OF_A_BATCH]
        if not opt_outs.by_campaigns and not opt_outs.field:
            error = f"The account has neither Campaigns nor a text field of persons named {OPT_OUT_FIELD!r}."
            return [Outcome(None, error=error) for _ in some]

        async def write(person: Person) -> Outcome:
            answer = await self._calls.send("PATCH", f"{PERSONS}/{person.id}", json=opt_outs.change())
            told = data_of(answer)
            # Pipedrive lets a status be changed once, and says nothing where it does not.
            if opt_outs.said_by(told):
                return outcome_of(told)
            return Outcome(None, error="The CRM left the marketing status as it was.")

        return await self._outcomes(some, write)

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        """As activities that are done, each with a mark by which it is found again."""

        async def write(activity: Activity) -> Outcome:
            return outcome_of(data_of(await self._calls.send("POST", _ACTIVITIES, json=_activity(activity))))

        return await self._outcomes(activities, write)

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        """By their marks, among the activities of each person since then."""
        by_person: dict[str, list[Activity]] = {}
        for each in activities:
            by_person.setdefault(each.contact_id, []).append(each)

        async def shown(person_id: str) -> set[str]:
            theirs = by_person[person_id]
            since = moment_text(min(each.at for each in theirs) - _CLOCKS_DIFFER)
            told = await self._list(_ACTIVITIES, {"person_id": person_id, "updated_since": since})
            notes = "".join(str(each.get("note") or "") for each in told)
            return {each.id for each in theirs if _mark(each) in notes}

        return frozenset().union(*await self._each(list(by_person), shown))

    async def _opt_outs(self) -> _OptOuts:
        if self._known_opt_outs is None:
            self._known_opt_outs = _opt_outs(await self._list(_FIELDS, {}))
        return self._known_opt_outs

    async def _list(self, path: str, query: Mapping[str, str]) -> list[Any]:
        """All of it."""
        rows: list[Any] = []
        asked = {"limit": str(_MOST_OF_A_LIST), **query}
        following: str | None = ""
        while following is not None:
            told = (
                await self._calls.send(
                    "GET", path, query=asked | ({"cursor": following} if following else {})
                )
            ).object()
            rows += listed(told.get("data"))
            following = _following(told)
        return rows

    async def _persons(self, ids: Sequence[str], query: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        known = [id_ for id_ in dict.fromkeys(ids) if id_.isdecimal()]
        persons: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(known), _MOST_IDS):
            asked = {"ids": ",".join(known[start : start + _MOST_IDS]), **query}
            told = await self._list(PERSONS, asked)
            with published_form():
                persons |= {str(each["id"]): each for each in told if not each.get("is_deleted")}
        return persons

    async def _owners_unless_nobodys(self, emails: Sequence[str]) -> list[list[str]]:
        """The same. What was found out a moment ago holds for one attempt, of which it may not be known how it ended."""
        asked = [email for email in emails if email.lower() not in self._nobodys]
        self._nobodys -= {email.lower() for email in emails}
        owners = dict(zip(asked, await self._owners(asked), strict=True))
        return [owners.get(email, []) for email in emails]

    async def _owners(self, emails: Sequence[str]) -> list[list[str]]:
        """The ids of those who have each address among theirs, the oldest first."""
        listed_owners = await self._listed_owners(emails) if len(emails) > _FEW_ADDRESSES else None
        return await self._each(emails, self._search) if listed_owners is None else listed_owners

    async def _listed_owners(self, emails: Sequence[str]) -> list[list[str]] | None:
        """By the list of all persons; None where searches cost less."""
        owners: dict[str, list[str]] = {email.lower(): [] for email in emails}
        query = {"sort_by": "id", "sort_direction": "asc", "limit": str(_MOST_OF_A_LIST)}
        following: dict[str, str] = {}
        for _ in range(len(emails) * _PAGES_OF_A_SEARCH):
            told = (await self._calls.send("GET", PERSONS, query=query | following)).object()
            with published_form():
                for each in listed(told.get("data")):
                    for email in {str(entry.get("value")).lower() for entry in each["emails"]}:
                        if email in owners:
                            owners[email].append(str(each["id"]))
            cursor = _following(told)
            if cursor is None:
                return [owners[email.lower()] for email in emails]
            following = {"cursor": cursor}
        return None

    async def _search(self, email: str) -> list[str]:
        """The ids of those who have an address among theirs, the oldest first."""
        query = {"term": email, "fields": "email", "exact_match": "true", "limit": str(_MOST_OF_A_LIST)}
        told = data_of(await self._calls.send("GET", f"{PERSONS}/search", query=query))
        items = [each.get("item") or {} for each in listed(told.get("items"))]
        return sorted((str(item["id"]) for item in items if item.get("id")), key=int)

    async def _each(self, given: Sequence[Given], ask: Callable[[Given], Awaitable[Found]]) -> list[Found]:
        """What is answered of each, some at a time. Raises what any of them does."""
        found: list[Found] = []
        for start in range(0, len(given), _AT_A_TIME):
            for answer in await _all(_patiently(ask, each) for each in given[start : start + _AT_A_TIME]):
                if isinstance(answer, CrmError):
                    raise answer
                found.append(answer)
        return found

    async def _outcomes(
        self, given: Sequence[Given], write: Callable[[Given], Awaitable[Outcome]]
    ) -> list[Outcome]:
        """Of as many of the beginning as go before a limit or a failure, some at a time."""
        outcomes: list[Outcome] = []
        for start in range(0, len(given), _AT_A_TIME):
            done = await _all(map(write, given[start : start + _AT_A_TIME]))
            failures = [
                each for each in done if isinstance(each, CrmError) and not isinstance(each, Rejected)
            ]
            while done and done[-1] in failures:
                done.pop()
            outcomes += map(_known, done)
            if failures:
                if not outcomes:
                    raise failures[0]
                break
        return outcomes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk has arrived: it shows what changed after a moment, has reached another, and goes on there with a cursor of theirs."""

    after: datetime = _LONG_AGO
    reached: datetime = _LONG_AGO
    at: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "_Place":
        """From a cursor. Raises CursorLost."""
        if cursor is None:
            return cls()
        try:
            told = orjson.loads(cursor)
            after = moment_of(told["after"])
            return cls(after, moment_of(told.get("reached", told["after"])), str(told.get("at", "")))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise CursorLost from None

    def text(self) -> str:
        """As a cursor."""
        more = {"reached": self.reached.isoformat(), "at": self.at} if self.at else {}
        return orjson.dumps({"after": self.after.isoformat(), **more}).decode()

    def query(self) -> dict[str, str]:
        """What is behind it, and what changed in its very second."""
        since = {"updated_since": moment_text(self.after)} if self.after > _LONG_AGO else {}
        return since | ({"cursor": self.at} if self.at else {})


async def _patiently(ask: Callable[[Given], Awaitable[Found]], what: Given) -> Found:
    """Ask, and again after a wait that is short."""
    for _ in range(_MOST_WAITS):
        try:
            return await ask(what)
        except RateLimited as limit:
            if limit.retry_after > _MOST_WAIT.total_seconds():
                raise
            await asyncio.sleep(limit.retry_after)
    return await ask(what)


async def _all(asks: Iterable[Awaitable[Found]]) -> list[Found | CrmError]:
    """The end of each, when all have come to theirs."""
    ends: list[Found | CrmError] = []
    for end in await asyncio.gather(*asks, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, CrmError):
            raise end
        ends.append(end)
    return ends


def _known(end: Outcome | CrmError) -> Outcome:
    if isinstance(end, CrmError):
        return Outcome(None, error=str(end), is_retryable=not isinstance(end, Rejected))
    return end


def _opt_outs(fields: Sequence[Mapping[str, Any]]) -> _OptOuts:
    by_campaigns = any(each.get("field_code") == _STATUS for each in fields)
    own = (
        str(each["field_code"])
        for each in fields
        if each.get("is_custom_field")
        and each.get("field_name") == OPT_OUT_FIELD
        and each.get("field_type") in ("varchar", "text")
    )
    return _OptOuts(by_campaigns, "" if by_campaigns else next(own, ""))


def _asked_keys(properties: Sequence[Property], opt_outs: _OptOuts) -> dict[str, str]:
    """Of custom fields; without them a person comes with all it has."""
    keys = custom_keys(properties) + ([opt_outs.field] if opt_outs.field else [])
    return {"custom_fields": ",".join(keys)} if 0 < len(keys) <= _MOST_KEYS else {}


def _following(told: Mapping[str, Any]) -> str | None:
    with published_form():
        return (told.get("additional_data") or {}).get("next_cursor") or None


def _record(told: Any, properties: Sequence[Property], opt_outs: _OptOuts) -> Record:
    with published_form():
        return Record(
            id=str(told["id"]),
            email=primary(told["emails"]),
            properties=values_of(told, properties),
            opted_out=opt_outs.said_by(told),
            modified_at=moment_of(told["update_time"]),
            is_archived=bool(told.get("is_deleted")),
        )


def _mark(activity: Activity) -> str:
    return f"[FlowNurture {escape(activity.id)}]"


def _activity(activity: Activity) -> dict[str, Any]:
    """Its note is HTML."""
    at = activity.at.astimezone(UTC)
    text = escape(activity.text).replace("\n", "<br>")
    return {
        "subject": activity.title[:255],
        "type": "email",
        "done": True,
        "due_date": at.date().isoformat(),
        "due_time": at.strftime("%H:%M"),
        "note": f"{text}<br>{_mark(activity)}",
        "participants": [{"person_id": int(activity.contact_id), "primary": True}],
    }


def _refusal(answer: Answer) -> CrmError:
    """By the status and the headers of limits (https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting)."""
    if answer.status == 429:
        if answer.headers.get("x-daily-ratelimit-token-remaining") == "0":
            return QuotaExhausted(answer.sent_at() + _UNTIL_ASKED_AGAIN)
        wait = answer.retry_after()
        return RateLimited(_reset(answer) if wait is None else wait)
    if answer.status == 403 and not answer.body.lstrip().startswith(b"{"):
        return RateLimited(_KEPT_OUT_SECONDS)
    if answer.status == 403:
        return Forbidden()
    if answer.status == 402:
        return Forbidden("the account is not open")
    return Rejected(str(answer.status))


def _reset(answer: Answer) -> float:
    """Seconds until a burst's window ends."""
    told = answer.headers.get("x-ratelimit-reset", "")
    return float(told) if told.isdecimal() and len(told) < 4 else _BURST_SECONDS


PIPEDRIVE = Provider(
    name="pipedrive",
    title="Pipedrive",
    scopes=("base", "contacts:full", "activities:full"),
    public=Addresses(
        "https://oauth.pipedrive.com", "https://oauth.pipedrive.com", "https://api.pipedrive.com"
    ),
    endpoints=_endpoints,
    takes_api_keys=True,
    names=("first_name", "last_name"),
    crm=Pipedrive,
)
