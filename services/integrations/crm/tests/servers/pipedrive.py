"""A company of Pipedrive as its published API shows it: strict about types, one person a call, names as one text, times in whole seconds."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

POINTS, MEMBER, BIRTHDAY, COLOUR, LIKES, BUDGET, NOTE, OPT_OUT = (digit * 40 for digit in "abcdef01")
_CUSTOM = {"is_custom_field": True}
FIELDS: list[dict[str, Any]] = [
    {"field_code": "name", "field_name": "Name", "field_type": "varchar", "is_custom_field": False},
    {"field_code": "emails", "field_name": "Email", "field_type": "varchar", "is_custom_field": False},
    {"field_code": "owner_id", "field_name": "Owner", "field_type": "user", "is_custom_field": False},
    {"field_code": POINTS, "field_name": "Points", "field_type": "double", **_CUSTOM},
    {"field_code": MEMBER, "field_name": "Member", "field_type": "boolean", **_CUSTOM},
    {"field_code": BIRTHDAY, "field_name": "Birthday", "field_type": "date", **_CUSTOM},
    {
        "field_code": COLOUR,
        "field_name": "Colour",
        "field_type": "enum",
        "options": [{"id": 11, "label": "Red"}, {"id": 12, "label": "Blue"}],
        **_CUSTOM,
    },
    {
        "field_code": LIKES,
        "field_name": "Likes",
        "field_type": "set",
        "options": [{"id": 21, "label": "A"}, {"id": 22, "label": "B"}],
        **_CUSTOM,
    },
    {"field_code": BUDGET, "field_name": "Budget", "field_type": "monetary", **_CUSTOM},
    {"field_code": NOTE, "field_name": "Remark", "field_type": "text", **_CUSTOM},
    {"field_code": "2" * 40, "field_name": "Friend", "field_type": "people", **_CUSTOM},
]
STATUS_FIELD = {
    "field_code": "marketing_status",
    "field_name": "Marketing status",
    "field_type": "enum",
    "is_custom_field": False,
}
OPT_OUT_FIELD: dict[str, Any] = {
    "field_code": OPT_OUT,
    "field_name": "FlowNurture opt-out",
    "field_type": "varchar",
    **_CUSTOM,
}
_TYPES: Mapping[str, Any] = {
    "double": (int, float),
    "boolean": bool,
    "date": str,
    "enum": int,
    "set": list,
    "monetary": dict,
    "text": str,
    "varchar": str,
}
_WRITABLE = {"name", "emails", "phones", "custom_fields", "marketing_status"}


@dataclass
class PipedriveCompany:
    """What is in it, and who may come in."""

    persons: dict[str, dict[str, Any]] = field(default_factory=dict)
    activities: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    # Answers that come instead of the next ones.
    instead: list[Response] = field(default_factory=list)
    # The same for the next ones that write; None lets one through.
    instead_of_writes: list[Response | None] = field(default_factory=list)
    # After so many calls the token ends.
    ends_after: int | None = None
    calls: list[str] = field(default_factory=list)
    # An hour ago, so that nothing is too young to be settled.
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    )
    # One of those that say who has opted out, or neither.
    more_fields: list[dict[str, Any]] = field(default_factory=lambda: [STATUS_FIELD])
    # Whose status was changed once already, so that it stays as it is.
    settled_statuses: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        """It, to be served."""
        answers: list[tuple[str, str, Callable[[Request, Any], Response]]] = [
            ("GET", "/api/v1/users/me", lambda *_: _told({"company_id": 4711, "company_name": "Ferro"})),
            ("GET", "/api/v2/personFields", lambda *_: _told([*FIELDS, *self.more_fields])),
            ("GET", "/api/v2/persons", lambda request, _: self._persons(request.query_params)),
            ("GET", "/api/v2/persons/search", lambda request, _: self._search(request.query_params)),
            ("POST", "/api/v2/persons", lambda _, asked: self._create(asked)),
            ("PATCH", "/api/v2/persons/{id:int}", self._update),
            ("GET", "/api/v2/activities", lambda request, _: self._activities(request.query_params)),
            ("POST", "/api/v2/activities", lambda _, asked: self._act(asked)),
        ]
        return Starlette(
            routes=[Route(path, self._answer(act), methods=[verb]) for verb, path, act in answers]
        )

    def add(self, email: str | None = None, name: str = "Nobody", **told: Any) -> str:
        """Somebody makes a person."""
        person_id = str(101 + len(self.persons))
        self.persons[person_id] = {
            "id": int(person_id),
            "emails": [{"value": email, "primary": True, "label": "work"}] if email else [],
            "phones": [],
            "add_time": _time(self.now),
            "is_deleted": False,
            "custom_fields": {each["field_code"]: None for each in FIELDS if each["is_custom_field"]},
            "marketing_status": "no_consent",
        }
        self.edit(person_id, name=name, **told)
        return person_id

    def edit(self, person_id: str, custom: Mapping[str, Any] | None = None, **told: Any) -> None:
        """Somebody edits it, a second later."""
        self.now += timedelta(seconds=1)
        self.put(person_id, custom, **told)

    def put(self, person_id: str, custom: Mapping[str, Any] | None = None, **told: Any) -> None:
        """The same, in this very second."""
        held = self.persons[person_id]
        if "name" in told:
            held["first_name"], _, held["last_name"] = told["name"].partition(" ")
        held.update(told, update_time=_time(self.now))
        held["custom_fields"] |= custom or {}

    def _answer(self, act: Callable[[Request, Any], Response]) -> Any:
        async def answer(request: Request) -> Response:
            if self.ends_after is not None and len(self.calls) >= self.ends_after:
                self.tokens, self.ends_after = {"token-2"}, None
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
            if (request.headers.get("x-api-token") or bearer) not in self.tokens:
                return _error(401, "unauthorized access")
            self.calls.append(f"{request.method} {request.url.path}")
            body = await request.body()
            if (
                request.method != "GET"
                and self.instead_of_writes
                and (failed := self.instead_of_writes.pop(0))
            ):
                return failed
            return self.instead.pop(0) if self.instead else act(request, json.loads(body) if body else None)

        return answer

    def _persons(self, asked: Mapping[str, str]) -> Response:
        keys = asked["custom_fields"].split(",") if "custom_fields" in asked else None
        ids = asked["ids"].split(",") if "ids" in asked else None
        if len(keys or []) > 15 or len(ids or []) > 100:
            return _error(400, "validation failed")
        found = [
            each
            for each in self.persons.values()
            if not each["is_deleted"]
            and (ids is None or str(each["id"]) in ids)
            and each["update_time"] >= asked.get("updated_since", "")
        ]
        return _page(found, asked, lambda each: self._shown(each, keys))

    def _search(self, asked: Mapping[str, str]) -> Response:
        if asked.get("exact_match") != "true" or asked.get("fields") != "email" or not asked.get("term"):
            return _error(400, "validation failed")
        items = [
            {"result_score": 1.0, "item": {"id": each["id"], "type": "person"}}
            for each in self.persons.values()
            if not each["is_deleted"]
            and asked["term"].lower() in [entry["value"].lower() for entry in each["emails"]]
        ]
        # The best first, which is not the oldest.
        return _told({"items": items[::-1]})

    def _create(self, asked: Any) -> Response:
        if self._is_wrong(asked) or not asked.get("name"):
            return _error(400, "validation failed")
        person_id = self.add(name=asked["name"])
        self._take(person_id, asked)
        return _told(self._shown(self.persons[person_id], None), 201)

    def _update(self, request: Request, asked: Any) -> Response:
        person_id = str(request.path_params["id"])
        if person_id not in self.persons or self.persons[person_id]["is_deleted"]:
            return _error(404, "Person not found")
        if self._is_wrong(asked) or ("name" in asked and not asked["name"]):
            return _error(400, "validation failed")
        self._take(person_id, asked)
        return _told(self._shown(self.persons[person_id], None))

    def _take(self, person_id: str, asked: Mapping[str, Any]) -> None:
        told = {name: value for name, value in asked.items() if name != "custom_fields"}
        if person_id in self.settled_statuses:
            told.pop("marketing_status", None)
        self.edit(person_id, asked.get("custom_fields"), **told)

    def _is_wrong(self, asked: Mapping[str, Any]) -> bool:
        types = {
            each["field_code"]: each["field_type"]
            for each in (*FIELDS, *self.more_fields)
            if each["is_custom_field"]
        }
        custom = asked.get("custom_fields", {})
        return (
            not asked.keys() <= _WRITABLE
            or ("marketing_status" in asked and STATUS_FIELD not in self.more_fields)
            or any(key not in types for key in custom)
            or any(
                value is not None and not isinstance(value, _TYPES[types[key]])
                for key, value in custom.items()
            )
        )

    def _shown(self, person: Mapping[str, Any], keys: list[str] | None) -> dict[str, Any]:
        shown = dict(person)
        if STATUS_FIELD not in self.more_fields:
            del shown["marketing_status"]
        if keys is not None:
            shown["custom_fields"] = {key: person["custom_fields"].get(key) for key in keys}
        return shown

    def _act(self, asked: Any) -> Response:
        self.activities.append(
            {"id": len(self.activities) + 1, "update_time": _time(self.now), "is_deleted": False, **asked}
        )
        return _told(self.activities[-1], 201)

    def _activities(self, asked: Mapping[str, str]) -> Response:
        found = [
            each
            for each in self.activities
            if {"person_id": int(asked["person_id"]), "primary": True} in each["participants"]
            and each["update_time"] >= asked["updated_since"]
        ]
        return _page(found, asked, dict)


def _page(
    rows: list[dict[str, Any]], asked: Mapping[str, str], shown: Callable[[dict[str, Any]], dict[str, Any]]
) -> Response:
    """A part of these rows, behind a cursor."""
    limit, by = int(asked.get("limit", 100)), asked.get("sort_by", "id")
    if not 0 < limit <= 500 or by not in ("id", "update_time", "add_time"):
        return _error(400, "validation failed")

    def key(row: Mapping[str, Any]) -> list[Any]:
        return [row[by], row["id"]]

    try:
        behind = json.loads(base64.b64decode(asked["cursor"], validate=True)) if "cursor" in asked else None
    except ValueError:
        return _error(400, "cursor is not valid")
    left = sorted(
        (row for row in rows if behind is None or key(row) > behind),
        key=key,
        reverse=asked.get("sort_direction") == "desc",
    )
    more = len(left) > limit
    following = base64.b64encode(json.dumps(key(left[limit - 1])).encode()).decode() if more else None
    return _told([shown(row) for row in left[:limit]], next_cursor=following)


def _told(data: Any, status: int = 200, **additional: Any) -> Response:
    return JSONResponse({"success": True, "data": data, "additional_data": additional}, status)


def _error(status: int, error: str) -> Response:
    return JSONResponse({"success": False, "error": error, "error_info": "Please check"}, status)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
