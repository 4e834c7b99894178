"""Salesforce: its REST and Bulk API 2.0 (https://developer.salesforce.com/docs/platform/api-rest)."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from services.integrations.crm.adapter import Access
from services.integrations.crm.batches import of_one_kind
from services.integrations.crm.calls import Calls, limited, listed, published_form
from services.integrations.crm.errors import (
    Broken,
    CrmError,
    CursorLost,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Rejected,
)
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.oauth import Endpoints, told_by
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
from services.integrations.crm.salesforce_values import (
    LAST_NAME,
    literal,
    moment_literal,
    moment_of,
    property_of,
    values_of,
    written,
)

_API = "/services/data/v62.0"
# sObject Collections take so many, of which a call creates or updates all or some.
_MOST_OF_A_COLLECTION = 200
# Retrieved by id in one call.
_MOST_READ = 2_000
# A query goes in the URL.
_MOST_ADDRESSES = 100
# From so many on a first sync is a job of the Bulk API, which counts as a few calls whatever its size.
_FEWEST_IN_BULK = 10_000
_JOB_SECONDS = 10.0
_EMAIL, _OPTED_OUT, _ID, _MODIFIED, _DELETED = (
    "Email",
    "HasOptedOutOfEmail",
    "Id",
    "SystemModstamp",
    "IsDeleted",
)
_OWN = (_ID, _EMAIL, _OPTED_OUT, _MODIFIED, _DELETED)
# A transaction that takes long is seen when it ends, with the time of when it wrote.
_MARGIN = timedelta(minutes=2)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# Of calls a day, which are counted over the last 24 hours: some are free again each hour.
_UNTIL_ASKED_AGAIN = timedelta(hours=1)
_BUSY_SECONDS = 10.0
_RETRYABLE = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG"}
_LONGEST_SUBJECT = 255
# My Domain names of all kinds of orgs end so.
_DOMAINS = ("salesforce.com", "force.com", "salesforce.mil")


def _endpoints(addresses: Addresses) -> Endpoints:
    """Answers with tokens name the org's own address, and a new refresh token where the app rotates them."""
    return Endpoints(
        f"{addresses.consent}/services/oauth2/authorize",
        f"{addresses.tokens}/services/oauth2/token",
        f"{addresses.tokens}/services/oauth2/revoke",
        told_by("instance_url", _DOMAINS, addresses.api),
    )


class Salesforce:
    """One org: a `Crm`."""

    def __init__(self, http: HttpClient, access: Access) -> None:
        self._calls = Calls(http, access, _refusal)

    async def account(self) -> Account:
        """By the id of the org, which is a record like others."""
        rows = await self._query("SELECT Id, Name FROM Organization")
        with published_form():
            (org,) = rows
            return Account(str(org["Id"]), str(org["Name"]))

    async def properties(self) -> Sequence[Property]:
        """Those of contacts that have one value."""
        told = (await self._calls.send("GET", f"{_API}/sobjects/Contact/describe")).object()
        with published_form():
            described = [
                property_of(each) for each in listed(told.get("fields")) if each.get("name") not in _OWN
            ]
        return [each for each in described if each is not None]

    async def newest(self, properties: Sequence[Property], limit: int) -> Sequence[Record]:
        """By a query."""
        order = f"ORDER BY {_MODIFIED} DESC, {_ID} DESC LIMIT {limit}"
        rows = await self._query(_select(_names(properties), "Contact", order))
        return [_record(row, properties) for row in rows]

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        """By time and id, and so that who is deleted is among them. All of many are had by a job, whose results are read page by page."""
        place = _Place.read(cursor)
        if cursor is None and await self._is_large():
            return await self._begin_job(properties)
        if place.job:
            return await self._job_page(place, properties, limit)
        return await self._query_page(place, properties, limit)

    async def read(self, ids: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By their ids, 2,000 a call."""
        records: dict[str, Record] = {}
        for start in range(0, len(ids), _MOST_READ):
            asked = {"ids": list(ids[start : start + _MOST_READ]), "fields": _names(properties)}
            told = (await self._calls.send("POST", f"{_API}/composite/sobjects/Contact", json=asked)).json()
            # In the place of who is not there stands null.
            found = (_record(each, properties) for each in listed(told) if each)
            records |= {record.id: record for record in found}
        return {id_: record for id_, record in records.items() if not record.is_archived}

    async def find(self, emails: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By a query, in which capitals do not count."""
        found: dict[str, Record] = {}
        for start in range(0, len(emails), _MOST_ADDRESSES):
            wanted = ", ".join(map(literal, emails[start : start + _MOST_ADDRESSES]))
            rows = await self._query(
                _select(
                    _names(properties), "Contact", f"WHERE {_EMAIL} IN ({wanted})", "ORDER BY CreatedDate, Id"
                )
            )
            for record in (_record(row, properties) for row in rows):
                found.setdefault((record.email or "").lower(), record)
        return found

    async def write(self, changes: Sequence[Change], properties: Sequence[Property]) -> Sequence[Outcome]:
        """Known ones by their ids. Others are looked for by their address first: an org need not have a field that makes addresses unique."""
        some = of_one_kind(changes, _MOST_OF_A_COLLECTION)
        if some[0].id:
            return await self._collection("PATCH", [_update(str(each.id), each) for each in some])
        known = await self.find([each.email.lower() for each in some], ())
        outcomes: dict[int, Outcome] = {}
        for is_known, verb in ((True, "PATCH"), (False, "POST")):
            places = [place for place, each in enumerate(some) if (each.email.lower() in known) is is_known]
            rows = [
                _update(known[some[place].email.lower()].id, some[place]) if is_known else _new(some[place])
                for place in places
            ]
            if rows:
                outcomes |= dict(zip(places, await self._collection(verb, rows), strict=True))
        return [outcomes[place] for place in range(len(some))]

    async def opt_out(self, people: Sequence[Person]) -> Sequence[Outcome]:
        """By the contact's own field."""
        some = people[:_MOST_OF_A_COLLECTION]
        return await self._collection(
            "PATCH", [_row("Contact", {_ID: person.id, _OPTED_OUT: True}) for person in some]
        )

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        """As tasks that are done, each with a subject by which it is found again."""
        some = activities[:_MOST_OF_A_COLLECTION]
        return await self._collection("POST", [_task(each) for each in some])

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        """By their subjects."""
        by_subject = {_subject(each): each.id for each in activities}
        subjects, found = list(by_subject), set[str]()
        for start in range(0, len(subjects), _MOST_ADDRESSES // 4):
            wanted = ", ".join(map(literal, subjects[start : start + _MOST_ADDRESSES // 4]))
            rows = await self._query(_select(["Subject"], "Task", f"WHERE Subject IN ({wanted})"))
            told = {str(row.get("Subject")) for row in rows}
            found |= {by_subject[subject] for subject in told & by_subject.keys()}
        return frozenset(found)

    async def _is_large(self) -> bool:
        told = (
            await self._calls.send("GET", f"{_API}/query", query={"q": "SELECT COUNT() FROM Contact"})
        ).object()
        with published_form():
            return int(told.get("totalSize", 0)) >= _FEWEST_IN_BULK

    async def _query_page(self, place: "_Place", properties: Sequence[Property], limit: int) -> Page:
        after = moment_literal(place.after)
        answer = await self._calls.send(
            "GET",
            f"{_API}/queryAll",
            query={
                "q": _select(
                    _names(properties),
                    "Contact",
                    f"WHERE {_MODIFIED} > {after} OR ({_MODIFIED} = {after} AND {_ID} > {literal(place.last_id)})",
                    f"ORDER BY {_MODIFIED}, {_ID} LIMIT {limit}",
                )
            },
        )
        told = answer.object()
        rows = listed(told.get("records"))
        records = [_record(row, properties) for row in rows]
        if records:
            place = _Place(records[-1].modified_at, records[-1].id)
        # A page may be cut where its answer would be too large.
        if len(rows) == limit or not told.get("done", True):
            return Page(records, place.text(), is_last=False)
        settled = answer.sent_at() - _MARGIN
        reached = place if place.after <= settled else _Place(settled)
        return Page(records, reached.text(), is_last=True)

    async def _begin_job(self, properties: Sequence[Property]) -> Page:
        asked = {"operation": "queryAll", "query": _select(_names(properties), "Contact")}
        answer = await self._calls.send("POST", f"{_API}/jobs/query", json=asked)
        job = str(answer.object().get("id", ""))
        # What changes while it runs is read after it.
        place = _Place(answer.sent_at() - _MARGIN, job=job)
        return Page([], place.text(), is_last=False, wait=_JOB_SECONDS)

    async def _job_page(self, place: "_Place", properties: Sequence[Property], limit: int) -> Page:
        path = f"{_API}/jobs/query/{place.job}"
        if not place.locator:
            state = (await self._job(path)).object().get("state")
            if state in ("UploadComplete", "InProgress"):
                return Page([], place.text(), is_last=False, wait=_JOB_SECONDS)
            if state != "JobComplete":
                raise CursorLost
        query = {"maxRecords": str(limit)} | ({"locator": place.locator} if place.locator else {})
        answer = await self._job(f"{path}/results", query)
        records = [_record(row, properties) for row in _rows_of_csv(answer.body)]
        following = answer.headers.get("sforce-locator", "null")
        if following == "null":
            return Page(records, _Place(place.after).text(), is_last=False)
        return Page(records, _Place(place.after, job=place.job, locator=following).text(), is_last=False)

    async def _job(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        try:
            return await self._calls.send("GET", path, query=query)
        except Rejected:
            # Results are kept for seven days.
            raise CursorLost from None

    async def _query(self, soql: str) -> list[Any]:
        told = (await self._calls.send("GET", f"{_API}/query", query={"q": soql})).object()
        rows = listed(told.get("records"))
        while not told.get("done", True):
            # A path of its own: an address of somebody else's would be sent the token.
            path = str(told.get("nextRecordsUrl", ""))
            if not path.startswith("/services/data/"):
                raise Broken("The CRM's answer goes on somewhere that is not the CRM's.")
            told = (await self._calls.send("GET", path)).object()
            rows += listed(told.get("records"))
        return rows

    async def _collection(self, verb: str, rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        asked = {"allOrNone": False, "records": rows}
        told = listed((await self._calls.send(verb, f"{_API}/composite/sobjects", json=asked)).json())
        if len(told) != len(rows):
            raise Broken("The CRM does not say what became of each.")
        return [_outcome(each) for each in told]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk has arrived: behind an id of a moment, or in the results of a job that began then."""

    after: datetime = _LONG_AGO
    last_id: str = ""
    job: str = ""
    locator: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "_Place":
        """From a cursor. Raises CursorLost."""
        if cursor is None:
            return cls()
        try:
            told = orjson.loads(cursor)
            return cls(moment_of(told["after"]), *(str(told.get(name, "")) for name in ("id", "job", "at")))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise CursorLost from None

    def text(self) -> str:
        """As a cursor."""
        parts = {"id": self.last_id, "job": self.job, "at": self.locator}
        told = {"after": self.after.isoformat()} | {name: value for name, value in parts.items() if value}
        return orjson.dumps(told).decode()


def _select(names: Sequence[str], kind: str, *clauses: str) -> str:
    return " ".join(("SELECT", ", ".join(names), "FROM", kind, *clauses))


def _names(properties: Sequence[Property]) -> list[str]:
    return [*_OWN, *(each.name for each in properties)]


def _record(told: Mapping[str, Any], properties: Sequence[Property]) -> Record:
    with published_form():
        return Record(
            id=str(told[_ID]),
            email=told[_EMAIL] or None,
            properties=values_of(told, properties),
            opted_out=str(told[_OPTED_OUT]).lower() == "true",
            modified_at=moment_of(told[_MODIFIED]),
            is_archived=str(told[_DELETED]).lower() == "true",
        )


def _rows_of_csv(body: bytes) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(body.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise Broken("The CRM answered with something that is not CSV.") from None


def _row(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": {"type": kind}, **fields}


def _update(contact_id: str, change: Change) -> dict[str, Any]:
    return _row(
        "Contact", {_ID: contact_id, _EMAIL: change.email, **written(change.properties, change.email)}
    )


def _new(change: Change) -> dict[str, Any]:
    fields = written({LAST_NAME: None, **change.properties}, change.email)
    return _row(
        "Contact",
        {_EMAIL: change.email, **{name: value for name, value in fields.items() if value is not None}},
    )


def _subject(activity: Activity) -> str:
    mark = f" [{activity.id}]"
    return activity.title[: _LONGEST_SUBJECT - len(mark)] + mark


def _task(activity: Activity) -> dict[str, Any]:
    return _row(
        "Task",
        {
            "WhoId": activity.contact_id,
            "Subject": _subject(activity),
            "Description": activity.text,
            "ActivityDate": activity.at.date().isoformat(),
            "Status": "Completed",
        },
    )


def _outcome(told: Mapping[str, Any]) -> Outcome:
    if told.get("success"):
        return Outcome(str(told["id"]))
    errors = told.get("errors") or [{}]
    code = str(errors[0].get("statusCode", "no reason"))[:60]
    return Outcome(None, error=f"The CRM refuses it ({code}).", is_retryable=code in _RETRYABLE)


def _refusal(answer: Answer) -> CrmError:
    """By the code of the first error (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm)."""
    try:
        told = answer.json()
    except Broken:
        told = None
    first = told[0] if isinstance(told, list) and told and isinstance(told[0], dict) else {}
    code, message = str(first.get("errorCode", ""))[:60], str(first.get("message", ""))
    if code == "REQUEST_LIMIT_EXCEEDED":
        # Too many at the same moment, or too many of a day.
        is_of_the_moment = "oncurrent" in message
        return (
            RateLimited(_BUSY_SECONDS)
            if is_of_the_moment
            else QuotaExhausted(answer.sent_at() + _UNTIL_ASKED_AGAIN)
        )
    if answer.status == 429:
        return limited(answer)
    if answer.status == 403:
        return Forbidden(code)
    return Rejected(code or str(answer.status))


SALESFORCE = Provider(
    name="salesforce",
    title="Salesforce",
    scopes=("api", "refresh_token"),
    public=Addresses(
        "https://login.salesforce.com", "https://login.salesforce.com", "https://login.salesforce.com"
    ),
    endpoints=_endpoints,
    takes_api_keys=False,
    names=("FirstName", "LastName"),
    crm=Salesforce,
)
