"""HubSpot: its public API of version 2026-03 (https://developers.hubspot.com/docs/api-reference/latest)."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from itertools import takewhile
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
    Rejected,
)
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.hubspot_posts import accounts_told
from services.integrations.crm.hubspot_values import (
    milliseconds,
    moment_of,
    property_of,
    values_of,
    written,
)
from services.integrations.crm.oauth import Endpoints, at
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

_VERSION = "2026-03"
_CONTACTS = f"/crm/objects/{_VERSION}/contacts"
_NOTES = f"/crm/objects/{_VERSION}/notes"
_MOST_OF_A_BATCH = 100
_MOST_OF_A_SEARCH = 200
# Of filter groups, any of which may fit.
_MOST_GROUPS = 5
_EMAIL, _OPTED_OUT, _ID, _MODIFIED = "email", "hs_email_optout", "hs_object_id", "lastmodifieddate"
_OWN = {_EMAIL, _OPTED_OUT, _ID, _MODIFIED}
# What was just written is found by a search a minute later, and some more for who is slow.
_MARGIN = timedelta(minutes=2)
# The day ends at midnight where the account is, which is not said: asking each hour costs 24 calls of those that are used up anyway.
_UNTIL_ASKED_AGAIN = timedelta(hours=1)
# A note about a contact (https://developers.hubspot.com/docs/api-reference/2026-03/crm/associations: association types).
_NOTE_TO_CONTACT = 202
_MARK = re.compile(r"\[FlowNurture ([^\s\]]{1,64})\]")


def _endpoints(addresses: Addresses) -> Endpoints:
    """The dated ones: those of v1, which took secrets in the URL, end in February 2027."""
    token = f"{addresses.tokens}/oauth/{_VERSION}/token"
    return Endpoints(f"{addresses.consent}/oauth/authorize", token, f"{token}/revoke", at(addresses.api))


class HubSpot:
    """One account: a `Crm`."""

    def __init__(self, http: HttpClient, access: Access) -> None:
        self._calls = Calls(http, access, _refusal)

    async def account(self) -> Account:
        """By the id of the portal."""
        told = (await self._calls.send("GET", f"/account-info/{_VERSION}/details")).object()
        with published_form():
            return Account(str(told["portalId"]), f"{told['uiDomain']}, {told['portalId']}")

    async def properties(self) -> Sequence[Property]:
        """Those that are neither archived nor hidden."""
        told = (await self._calls.send("GET", f"/crm/properties/{_VERSION}/contacts")).object()
        with published_form():
            described = [
                property_of(each)
                for each in listed(told.get("results"))
                if not each.get("archived") and not each.get("hidden") and each.get("name") not in _OWN
            ]
        return [each for each in described if each is not None]

    async def newest(self, properties: Sequence[Property], limit: int) -> Sequence[Record]:
        """By a search in the other order."""
        everybody, names = _Place(0).filters(), _names(properties)
        size = min(limit, _MOST_OF_A_SEARCH)
        answer = await self._search(_CONTACTS, everybody, _MODIFIED, names, size, direction="DESCENDING")
        return [_record(each, properties) for each in listed(answer.object().get("results"))]

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        """By search, each time from its first result: edits meanwhile move nobody past a page, and no page lies beyond the 10,000 that a search shows.

        A millisecond in which more have changed than a page holds, as after an import, is gone through by id.
        """
        place = _Place.read(cursor)
        size = min(limit, _MOST_OF_A_SEARCH)
        answer = await self._search(_CONTACTS, place.filters(), place.order, _names(properties), size)
        found = listed(answer.object().get("results"))
        records = [_record(each, properties) for each in found]
        if len(found) == size:
            kept, following = place.behind_a_full_page(records)
            return Page(kept, following.text(), is_last=False)
        if place.is_within_a_moment:
            return Page(records, _Place(place.after).text(), is_last=False)
        reached = max((milliseconds(record.modified_at) for record in records), default=place.after)
        settled = milliseconds(answer.sent_at() - _MARGIN)
        return Page(records, _Place(max(place.after, min(reached, settled))).text(), is_last=True)

    async def read(self, ids: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By their ids, a hundred a call."""
        return {record.id: record for record in await self._batch_read(ids, properties)}

    async def find(self, emails: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """By their address, of which HubSpot has each once."""
        found = await self._batch_read(emails, properties, by=_EMAIL)
        return {record.email.lower(): record for record in found if record.email}

    async def write(self, changes: Sequence[Change], properties: Sequence[Property]) -> Sequence[Outcome]:
        """Known ones by their ids, others by their address. A batch that is refused as a whole is tried by halves, to find who is meant."""
        some = of_one_kind(changes, _MOST_OF_A_BATCH)
        path, inputs = (
            (f"{_CONTACTS}/batch/update", [_update(each) for each in some])
            if some[0].id
            else (f"{_CONTACTS}/batch/upsert", [_upsert(each) for each in some])
        )
        for place, each in enumerate(inputs):
            each["objectWriteTraceId"] = str(place)
        try:
            told = (await self._calls.send("POST", path, json={"inputs": inputs})).object()
        except Rejected as refusal:
            if len(some) == 1:
                return [Outcome(None, error=str(refusal))]
            return await self.write(some[: len(some) // 2], properties)
        return _outcomes(told, len(some))

    async def opt_out(self, people: Sequence[Person]) -> Sequence[Outcome]:
        """From all e-mail (communication preferences)."""
        some = people[:_MOST_OF_A_BATCH]
        path = f"/communication-preferences/{_VERSION}/statuses/batch/unsubscribe-all"
        inputs = {"inputs": [person.email for person in some]}
        try:
            told = (await self._calls.send("POST", path, query={"channel": "EMAIL"}, json=inputs)).object()
        except Rejected as refusal:
            if len(some) == 1:
                return [Outcome(None, error=str(refusal))]
            return await self.opt_out(some[: len(some) // 2])
        done = {str(each.get("subscriberIdString", "")).lower() for each in listed(told.get("results"))}
        return [
            Outcome(person.id)
            if person.email.lower() in done
            else Outcome(None, error="The CRM did not take the opt-out.")
            for person in some
        ]

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        """As notes, each with a mark by which it is found again."""
        some = activities[:_MOST_OF_A_BATCH]
        inputs = [_note(each) | {"objectWriteTraceId": str(place)} for place, each in enumerate(some)]
        try:
            told = (
                await self._calls.send("POST", f"{_NOTES}/batch/create", json={"inputs": inputs})
            ).object()
        except Rejected as refusal:
            if len(some) == 1:
                return [Outcome(None, error=str(refusal))]
            return await self.log(some[: len(some) // 2])
        return _outcomes(told, len(some))

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        """By their marks."""
        wanted, found = [each.id for each in activities], set[str]()
        for start in range(0, len(wanted), _MOST_GROUPS):
            groups = [
                {"filters": [{"propertyName": "hs_note_body", "operator": "CONTAINS_TOKEN", "value": id_}]}
                for id_ in wanted[start : start + _MOST_GROUPS]
            ]
            answer = await self._search(_NOTES, groups, _ID, ["hs_note_body"], _MOST_OF_A_SEARCH)
            with published_form():
                for note in listed(answer.object().get("results")):
                    found.update(_MARK.findall(note["properties"].get("hs_note_body") or ""))
        return frozenset(found & set(wanted))

    async def _search(
        self,
        path: str,
        groups: Sequence[Mapping[str, Any]],
        order: str,
        names: Sequence[str],
        size: int,
        *,
        direction: str = "ASCENDING",
    ) -> Answer:
        asked = {
            "filterGroups": groups,
            "sorts": [{"propertyName": order, "direction": direction}],
            "properties": names,
            "limit": size,
        }
        return await self._calls.send("POST", f"{path}/search", json=asked)

    async def _batch_read(
        self, keys: Sequence[str], properties: Sequence[Property], by: str = ""
    ) -> list[Record]:
        records = []
        for start in range(0, len(keys), _MOST_OF_A_BATCH):
            asked: dict[str, Any] = {
                "inputs": [{"id": key} for key in keys[start : start + _MOST_OF_A_BATCH]],
                "properties": _names(properties),
            }
            if by:
                asked["idProperty"] = by
            told = (await self._calls.send("POST", f"{_CONTACTS}/batch/read", json=asked)).object()
            # Who is not there is told among the errors of a 207.
            records += [
                _record(each, properties) for each in listed(told.get("results")) if not each.get("archived")
            ]
        return records


class _Place:
    """Where a walk has arrived: behind a millisecond, or at one of them behind an id."""

    def __init__(self, after: int, last_id: str | None = None) -> None:
        self.after = after
        self._last_id = last_id

    @classmethod
    def read(cls, cursor: str | None) -> "_Place":
        """From a cursor. Raises CursorLost."""
        if cursor is None:
            return cls(0)
        try:
            told = orjson.loads(cursor)
            return cls(int(told["after"]), told.get("id"))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise CursorLost from None

    def text(self) -> str:
        """As a cursor."""
        return orjson.dumps({"after": self.after} | ({"id": self._last_id} if self._last_id else {})).decode()

    @property
    def is_within_a_moment(self) -> bool:
        """Whether it is at one of those who changed in the same millisecond."""
        return self._last_id is not None

    @property
    def order(self) -> str:
        """By what the results are to be in order."""
        return _ID if self.is_within_a_moment else _MODIFIED

    def filters(self) -> list[Mapping[str, Any]]:
        """What is behind it."""
        if self._last_id is None:
            return [{"filters": [_filter(_MODIFIED, "GT", str(self.after))]}]
        return [{"filters": [_filter(_MODIFIED, "EQ", str(self.after)), _filter(_ID, "GT", self._last_id)]}]

    def behind_a_full_page(self, records: Sequence[Record]) -> tuple[Sequence[Record], "_Place"]:
        """What of the page is whole, and where it goes on: of its last millisecond there may be more than the page shows."""
        if self._last_id is not None:
            return records, _Place(self.after, records[-1].id)
        last = milliseconds(records[-1].modified_at)
        whole = list(takewhile(lambda record: milliseconds(record.modified_at) < last, records))
        return (whole, _Place(last - 1)) if whole else ([], _Place(last, "0"))


def _filter(name: str, operator: str, value: str) -> dict[str, str]:
    return {"propertyName": name, "operator": operator, "value": value}


def _names(properties: Sequence[Property]) -> list[str]:
    return [_EMAIL, _OPTED_OUT, _MODIFIED, *(each.name for each in properties)]


def _record(told: Mapping[str, Any], properties: Sequence[Property]) -> Record:
    with published_form():
        held = told["properties"]
        return Record(
            id=str(told["id"]),
            email=held.get(_EMAIL) or None,
            properties=values_of(held, properties),
            opted_out=held.get(_OPTED_OUT) == "true",
            modified_at=moment_of(held.get(_MODIFIED) or told["updatedAt"]),
            is_archived=bool(told.get("archived")),
        )


def _update(change: Change) -> dict[str, Any]:
    return {"id": change.id, "properties": {_EMAIL: change.email, **written(change.properties)}}


def _upsert(change: Change) -> dict[str, Any]:
    properties = {_EMAIL: change.email, **written(change.properties)}
    return {"idProperty": _EMAIL, "id": change.email, "properties": properties}


def _note(activity: Activity) -> dict[str, Any]:
    """Its body is HTML."""
    said = escape(f"{activity.title}\n{activity.text}").replace("\n", "<br>")
    association = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _NOTE_TO_CONTACT}
    return {
        "properties": {
            "hs_timestamp": str(milliseconds(activity.at)),
            "hs_note_body": f"{said}<br>[FlowNurture {activity.id}]",
        },
        "associations": [{"to": {"id": activity.contact_id}, "types": [association]}],
    }


def _outcomes(told: Mapping[str, Any], number: int) -> list[Outcome]:
    """Of each input, by the number that it was sent with; who is not told of was not written."""
    outcomes = [Outcome(None, error="The CRM does not say what became of it.", is_retryable=True)] * number
    with published_form():
        for each in listed(told.get("results")):
            place = _place(each.get("objectWriteTraceId"), number)
            if place is not None:
                modified = moment_of(each["updatedAt"]) if each.get("updatedAt") else None
                outcomes[place] = Outcome(str(each["id"]), modified)
        for error in told.get("errors") or ():
            for trace in (error.get("context") or {}).get("objectWriteTraceId", ()):
                place = _place(trace, number)
                if place is not None:
                    outcomes[place] = Outcome(
                        None, error=f"The CRM refuses it ({error.get('category', 'no reason')})."
                    )
    return outcomes


def _place(trace: object, number: int) -> int | None:
    text = str(trace)
    return int(text) if text.isdecimal() and int(text) < number else None


def _refusal(answer: Answer) -> CrmError:
    """By HubSpot's error object (https://developers.hubspot.com/docs/api-reference/error-handling)."""
    try:
        told = answer.object()
    except Broken:
        told = {}
    category = str(told.get("category", ""))[:60]
    if answer.status == 429:
        if told.get("policyName") == "DAILY":
            return QuotaExhausted(answer.sent_at() + _UNTIL_ASKED_AGAIN)
        return limited(answer)
    if answer.status == 403:
        scopes = {
            scope
            for error in told.get("errors") or ()
            for name in ("requiredScopes", "requiredGranularScopes")
            for scope in (error.get("context") or {}).get(name, ())
        }
        return Forbidden(category, sorted(map(str, scopes)))
    return Rejected(category or str(answer.status))


HUBSPOT = Provider(
    name="hubspot",
    title="HubSpot",
    scopes=(
        "oauth",
        "crm.objects.contacts.read",
        "crm.objects.contacts.write",
        "crm.schemas.contacts.read",
        "communication_preferences.statuses.batch.write",
    ),
    public=Addresses("https://app.hubspot.com", "https://api.hubapi.com", "https://api.hubapi.com"),
    endpoints=_endpoints,
    takes_api_keys=True,
    names=("firstname", "lastname"),
    crm=HubSpot,
    accounts_told=accounts_told,
)
