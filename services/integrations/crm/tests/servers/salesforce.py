"""An org of Salesforce as its published API shows it: SOQL as far as contacts need it, collections with an outcome each, jobs whose results are CSV."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_API = "/services/data/v62.0"
FIELDS: list[dict[str, Any]] = [
    {"name": "Id", "label": "Contact ID", "type": "id", "updateable": False},
    {"name": "Email", "label": "Email", "type": "email", "updateable": True},
    {"name": "HasOptedOutOfEmail", "label": "Email Opt Out", "type": "boolean", "updateable": True},
    {"name": "FirstName", "label": "First Name", "type": "string", "updateable": True},
    {"name": "LastName", "label": "Last Name", "type": "string", "updateable": True},
    {"name": "Points__c", "label": "Points", "type": "double", "updateable": True},
    {"name": "Member__c", "label": "Member", "type": "boolean", "updateable": True},
    {"name": "Birthdate", "label": "Birthdate", "type": "date", "updateable": True},
    {"name": "Seen__c", "label": "Seen", "type": "datetime", "updateable": True},
    {
        "name": "Colour__c",
        "label": "Colour",
        "type": "picklist",
        "updateable": True,
        "picklistValues": [
            {"value": "red", "label": "Red", "active": True},
            {"value": "old", "label": "Old", "active": False},
        ],
    },
    {"name": "Likes__c", "label": "Likes", "type": "multipicklist", "updateable": True, "picklistValues": []},
    {"name": "Score__c", "label": "Score", "type": "double", "updateable": False, "calculated": True},
    {"name": "MailingAddress", "label": "Mailing Address", "type": "address", "updateable": False},
]
_SELECT = re.compile(
    r"SELECT (?P<names>.+?) FROM (?P<kind>\w+)(?: WHERE (?P<where>.+?))?(?: ORDER BY (?P<order>[\w, ]+?))?(?: LIMIT (?P<limit>\d+))?",
    re.DOTALL,
)
_BEHIND = re.compile(r"SystemModstamp > (\S+) OR \(SystemModstamp = \S+ AND Id > '([^']*)'\)")
_IN = re.compile(r"(\w+) IN \((.+)\)", re.DOTALL)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


@dataclass
class SalesforceOrg:
    """What is in it, and who may come in."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    instead: list[Response] = field(default_factory=list)
    ends_after: int | None = None
    calls: list[str] = field(default_factory=list)
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    )
    # What COUNT() says beyond those that are there.
    seeming: int = 0
    job_states: list[str] = field(default_factory=lambda: ["InProgress", "JobComplete"])
    # Rows of a query's page at the most.
    cut_at: int = 2_000
    _rest: list[dict[str, Any]] = field(default_factory=list)
    _job_names: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        """It, to be served."""
        answers: list[tuple[str, str, Callable[[Request, Any], Response]]] = [
            (
                "GET",
                f"{_API}/query",
                lambda request, _: self._query(request.query_params["q"], deleted=False),
            ),
            (
                "GET",
                f"{_API}/queryAll",
                lambda request, _: self._query(request.query_params["q"], deleted=True),
            ),
            ("GET", f"{_API}/query/more", lambda request, _: self._page(self._rest)),
            ("GET", f"{_API}/sobjects/Contact/describe", lambda request, _: JSONResponse({"fields": FIELDS})),
            ("POST", f"{_API}/composite/sobjects/Contact", lambda request, asked: self._retrieve(asked)),
            ("POST", f"{_API}/composite/sobjects", lambda request, asked: self._write(asked, self._create)),
            ("PATCH", f"{_API}/composite/sobjects", lambda request, asked: self._write(asked, self._update)),
            (
                "POST",
                f"{_API}/jobs/query",
                lambda request, asked: self._begin_job(asked),
            ),
            (
                "GET",
                f"{_API}/jobs/query/750",
                lambda request, _: JSONResponse({"state": (self.job_states or ["JobComplete"]).pop(0)}),
            ),
            ("GET", f"{_API}/jobs/query/750/results", lambda request, _: self._results(request.query_params)),
        ]
        return Starlette(
            routes=[Route(path, self._answer(act), methods=[verb]) for verb, path, act in answers]
        )

    def add(self, email: str | None = None, **fields: Any) -> str:
        """Somebody makes a contact."""
        contact_id = f"003{len(self.contacts):012}AAA"
        self.contacts[contact_id] = {each["name"]: None for each in FIELDS} | {
            "Id": contact_id,
            "Email": email,
            "HasOptedOutOfEmail": False,
            "IsDeleted": False,
            "CreatedDate": _time(self.now),
        }
        self.edit(contact_id, **fields)
        return contact_id

    def edit(self, contact_id: str, **fields: Any) -> None:
        """Somebody edits it, a second later."""
        self.now += timedelta(seconds=1)
        self.put(contact_id, **fields)

    def put(self, contact_id: str, **fields: Any) -> None:
        """The same, in this very second."""
        self.contacts[contact_id] |= fields | {"SystemModstamp": _time(self.now)}

    def _answer(self, act: Callable[[Request, Any], Response]) -> Any:
        async def answer(request: Request) -> Response:
            if self.ends_after is not None and len(self.calls) >= self.ends_after:
                self.tokens, self.ends_after = {"token-2"}, None
            if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
            self.calls.append(f"{request.method} {request.url.path}")
            body = await request.body()
            return self.instead.pop(0) if self.instead else act(request, json.loads(body) if body else None)

        return answer

    def _query(self, soql: str, *, deleted: bool) -> Response:
        if soql == "SELECT COUNT() FROM Contact":
            return JSONResponse({"totalSize": len(self.contacts) + self.seeming, "done": True, "records": []})
        if soql == "SELECT Id, Name FROM Organization":
            return JSONResponse({"done": True, "records": [{"Id": "00D4711", "Name": "Ferro"}]})
        asked = _SELECT.fullmatch(soql)
        if asked is None:
            return _error(400, "MALFORMED_QUERY", "unexpected token")
        rows = self.tasks if asked["kind"] == "Task" else list(self.contacts.values())
        names = asked["names"].split(", ")
        if asked["kind"] == "Contact" and not set(names) <= {
            *(each["name"] for each in FIELDS),
            "SystemModstamp",
            "IsDeleted",
        }:
            return _error(400, "INVALID_FIELD", "No such column")
        found = [
            row for row in rows if (deleted or not row.get("IsDeleted")) and _fits(row, asked["where"] or "")
        ]
        for order in reversed((asked["order"] or "").split(", ")):
            name, _, direction = order.partition(" ")
            if name:
                found.sort(key=lambda row: str(row[name]), reverse=direction == "DESC")
        limit = int(asked["limit"] or len(found))
        return self._page([{name: row.get(name) for name in names} for row in found[:limit]])

    def _page(self, rows: list[dict[str, Any]]) -> Response:
        self._rest = rows[self.cut_at :]
        told: dict[str, Any] = {"done": not self._rest, "records": rows[: self.cut_at]}
        return JSONResponse(told | ({"nextRecordsUrl": f"{_API}/query/more"} if self._rest else {}))

    def _retrieve(self, asked: Any) -> Response:
        live = {id_: row for id_, row in self.contacts.items() if not row["IsDeleted"]}
        return JSONResponse(
            [
                {name: live[id_].get(name) for name in asked["fields"]} if id_ in live else None
                for id_ in asked["ids"]
            ]
        )

    def _write(self, asked: Any, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
        if len(asked["records"]) > 200:
            return _error(400, "EXCEEDED_ID_LIMIT", "record limit reached")
        return JSONResponse([act(dict(each)) for each in asked["records"]])

    def _create(self, row: dict[str, Any]) -> dict[str, Any]:
        if row.pop("attributes")["type"] == "Task":
            self.tasks.append(row)
            return {"id": f"00T{len(self.tasks)}", "success": True, "errors": []}
        if not row.get("LastName"):
            return _failed("REQUIRED_FIELD_MISSING")
        return _wrong(row) or {
            "id": self.add(**{"email": row.pop("Email"), **row}),
            "success": True,
            "errors": [],
        }

    def _update(self, row: dict[str, Any]) -> dict[str, Any]:
        row.pop("attributes")
        contact_id = row.pop("Id")
        if contact_id not in self.contacts or self.contacts[contact_id]["IsDeleted"]:
            return _failed("ENTITY_IS_DELETED")
        if not row.get("LastName", "-"):
            return _failed("REQUIRED_FIELD_MISSING")
        if row.get("FirstName") == "locked":
            return _failed("UNABLE_TO_LOCK_ROW")
        if wrong := _wrong(row):
            return wrong
        self.edit(contact_id, **row)
        return {"id": contact_id, "success": True, "errors": []}

    def _begin_job(self, asked: Any) -> Response:
        query = _SELECT.fullmatch(asked["query"])
        if query is None or asked["operation"] != "queryAll":
            return _error(400, "INVALIDJOB", "unexpected token")
        self._job_names = query["names"].split(", ")
        return JSONResponse({"id": "750", "state": "UploadComplete"})

    def _results(self, asked: Mapping[str, str]) -> Response:
        start, size = int(asked.get("locator", "0")), int(asked["maxRecords"])
        names = self._job_names
        rows = list(self.contacts.values())[start : start + size]
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n", quoting=csv.QUOTE_ALL)
        table.writeheader()
        table.writerows({name: _csv(row.get(name)) for name in names} for row in rows)
        following = str(start + size) if start + size < len(self.contacts) else "null"
        return PlainTextResponse(
            text.getvalue(), headers={"Sforce-Locator": following}, media_type="text/csv"
        )


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse([{"errorCode": code, "message": message}], status)


def _failed(code: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": "", "fields": []}]}


def _wrong(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row.keys() <= {each["name"] for each in FIELDS if each["updateable"]}:
        return _failed("INVALID_FIELD_FOR_INSERT_UPDATE")
    return _failed("INVALID_EMAIL_ADDRESS") if "@" not in (row.get("Email") or "@") else None


def _fits(row: Mapping[str, Any], where: str) -> bool:
    if behind := _BEHIND.fullmatch(where):
        moment = datetime.fromisoformat(behind[1])
        return (datetime.fromisoformat(row["SystemModstamp"]), row["Id"]) > (moment, behind[2])
    if among := _IN.fullmatch(where):
        wanted = {re.sub(r"\\(.)", r"\1", each).lower() for each in _QUOTED.findall(among[2])}
        return str(row.get(among[1]) or "").lower() in wanted
    return not where


def _csv(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
