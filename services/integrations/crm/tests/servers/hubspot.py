"""An account of HubSpot as its published API shows it, with its awkward sides: everything is text, searches lag and end, batches fail in parts or whole."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_V = "2026-03"
_SHOWN_BY_A_SEARCH = 10_000
READ_ONLY = "hs_score"
PROPERTIES: list[dict[str, Any]] = [
    {"name": "email", "label": "Email", "type": "string", "fieldType": "text"},
    {"name": "firstname", "label": "First name", "type": "string", "fieldType": "text"},
    {"name": "lastname", "label": "Last name", "type": "string", "fieldType": "text"},
    {"name": "points", "label": "Points", "type": "number", "fieldType": "number"},
    {
        "name": "member",
        "label": "Member",
        "type": "enumeration",
        "fieldType": "booleancheckbox",
        "options": [],
    },
    {"name": "birthday", "label": "Birthday", "type": "date", "fieldType": "date"},
    {"name": "seen", "label": "Seen", "type": "datetime", "fieldType": "date"},
    {
        "name": "colour",
        "label": "Colour",
        "type": "enumeration",
        "fieldType": "select",
        "options": [{"value": "red", "label": "Red"}, {"value": "blue", "label": "Blue"}],
    },
    {
        "name": "likes",
        "label": "Likes",
        "type": "enumeration",
        "fieldType": "checkbox",
        "options": [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}],
    },
    {
        "name": READ_ONLY,
        "label": "Score",
        "type": "number",
        "fieldType": "number",
        "modificationMetadata": {"readOnlyValue": True},
    },
    {"name": "gone", "label": "Gone", "type": "string", "fieldType": "text", "archived": True},
    {"name": "position", "label": "Position", "type": "object_coordinates", "fieldType": "text"},
]


@dataclass
class HubSpotAccount:
    """What is in it, and who may come in."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0
    notes: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    # Answers that come instead of the next ones.
    instead: list[Response] = field(default_factory=list)
    # Answers that come in place of those to the next contacts that are made: it is done, and nobody is told.
    lost: list[Response] = field(default_factory=list)
    # After so many calls the token ends.
    ends_after: int | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    # An hour ago, so that nothing is too young to be found.
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    )
    # Whom searches do not find yet, though they were changed.
    not_indexed: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        """It, to be served."""
        posts: dict[str, Callable[[Any], Response]] = {
            f"/crm/objects/{_V}/contacts/search": self._search_contacts,
            f"/crm/objects/{_V}/contacts/batch/read": self._read,
            f"/crm/objects/{_V}/contacts/batch/update": self._update,
            f"/crm/objects/{_V}/contacts/batch/upsert": self._upsert,
            f"/crm/objects/{_V}/notes/batch/create": self._create_notes,
            f"/crm/objects/{_V}/notes/search": self._search_notes,
            f"/communication-preferences/{_V}/statuses/batch/unsubscribe-all": self._unsubscribe,
        }
        gets: dict[str, Any] = {
            f"/account-info/{_V}/details": {
                "portalId": 4711,
                "uiDomain": "app.hubspot.com",
                "timeZone": "Europe/Dublin",
            },
            f"/crm/properties/{_V}/contacts": {"results": PROPERTIES},
        }
        return Starlette(
            routes=[
                *(Route(path, self._post(path, act), methods=["POST"]) for path, act in posts.items()),
                *(Route(path, self._get(path, told)) for path, told in gets.items()),
            ]
        )

    def add(self, email: str | None = None, **properties: str) -> str:
        """Somebody makes a contact."""
        self.now += timedelta(seconds=1)
        self.made += 1
        return self.put(str(100 + self.made), email, **properties)

    def put(self, contact_id: str, email: str | None = None, **properties: str) -> str:
        """The same, at this very millisecond."""
        held = self.contacts.setdefault(contact_id, {})
        held.update(properties)
        if email is not None:
            held["email"] = email.lower()
        held["lastmodifieddate"] = _time(self.now)
        held["hs_object_id"] = contact_id
        return contact_id

    def edit(self, contact_id: str, **properties: str) -> None:
        """Somebody edits it, a second later."""
        self.now += timedelta(seconds=1)
        self.put(contact_id, **properties)

    def _get(self, path: str, told: Any) -> Any:
        async def answer(request: Request) -> Response:
            return self._let_in(request, path, None) or JSONResponse(told)

        return answer

    def _post(self, path: str, act: Callable[[Any], Response]) -> Any:
        async def answer(request: Request) -> Response:
            asked = json.loads(await request.body())
            return self._let_in(request, path, asked) or act(asked)

        return answer

    def _let_in(self, request: Request, path: str, asked: Any) -> Response | None:
        if self.ends_after is not None and len(self.calls) >= self.ends_after:
            self.tokens, self.ends_after = {"token-2"}, None
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(401, "EXPIRED_AUTHENTICATION")
        self.calls.append((path, asked))
        return self.instead.pop(0) if self.instead else None

    def _search_contacts(self, asked: Any) -> Response:
        if asked["limit"] > 200 or int(asked.get("after", 0)) + asked["limit"] > _SHOWN_BY_A_SEARCH:
            return _error(400, "VALIDATION_ERROR")
        found = [
            contact
            for contact in self.contacts.values()
            if contact["hs_object_id"] not in self.not_indexed
            if any(all(_fits(contact, each) for each in group["filters"]) for group in asked["filterGroups"])
        ]
        (order,) = asked["sorts"]
        found.sort(
            key=lambda contact: _comparable(contact, order["propertyName"]),
            reverse=order["direction"] == "DESCENDING",
        )
        shown = [_shown(contact, asked["properties"]) for contact in found[: asked["limit"]]]
        return JSONResponse({"total": len(found), "results": shown})

    def _read(self, asked: Any) -> Response:
        by = asked.get("idProperty", "hs_object_id")
        keys = [each["id"] for each in asked["inputs"]]
        if len(keys) > 100:
            return _error(400, "VALIDATION_ERROR")
        found = [
            contact
            for key in dict.fromkeys(keys)
            for contact in self.contacts.values()
            if contact.get(by) == (key.lower() if by == "email" else key)
        ]
        missing = len(set(keys)) > len(found)
        errors = [
            {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects"}
        ]
        return JSONResponse(
            {"status": "COMPLETE", "results": [_shown(each, asked["properties"]) for each in found]}
            | ({"numErrors": 1, "errors": errors} if missing else {}),
            207 if missing else 200,
        )

    def _update(self, asked: Any) -> Response:
        return self._write(asked, lambda each: each["id"] if each["id"] in self.contacts else None)

    def _upsert(self, asked: Any) -> Response:
        def target(each: Mapping[str, Any]) -> str:
            known = self._by_email(each["id"])
            return known or self.add(each["id"])

        told = self._write(asked, target)
        return self.lost.pop(0) if self.lost else told

    def _write(self, asked: Any, target_of: Callable[[Mapping[str, Any]], str | None]) -> Response:
        inputs = asked["inputs"]
        keys = [each["id"].lower() for each in inputs]
        # A wrong value, or one named twice, and all of it is refused.
        if len(inputs) > 100 or len(set(keys)) < len(keys) or any(map(_is_wrong, inputs)):
            return _error(400, "VALIDATION_ERROR")
        results, errors = [], []
        for each in inputs:
            trace, target = each["objectWriteTraceId"], target_of(each)
            email = each["properties"].get("email", "").lower()
            holder = self._by_email(email) if email else None
            if target is None or (holder is not None and holder != target):
                category = "OBJECT_NOT_FOUND" if target is None else "CONFLICT"
                errors.append(
                    {"status": "error", "category": category, "context": {"objectWriteTraceId": [trace]}}
                )
                continue
            self.edit(target, **{**each["properties"], "email": email} if email else each["properties"])
            results.append(_shown(self.contacts[target], []) | {"objectWriteTraceId": trace})
        # In whatever order it likes.
        told = {"status": "COMPLETE", "results": results[::-1]}
        return JSONResponse(
            told | ({"numErrors": len(errors), "errors": errors} if errors else {}), 207 if errors else 200
        )

    def _by_email(self, email: str) -> str | None:
        return next((id_ for id_, held in self.contacts.items() if held.get("email") == email.lower()), None)

    def _unsubscribe(self, asked: Any) -> Response:
        results = []
        for email in asked["inputs"]:
            if contact_id := self._by_email(email):
                self.edit(contact_id, hs_email_optout="true")
            if "@" in email:
                results.append({"subscriberIdString": email.lower(), "statuses": []})
        return JSONResponse({"status": "COMPLETE", "results": results})

    def _create_notes(self, asked: Any) -> Response:
        results = []
        for each in asked["inputs"]:
            self.notes.append(each)
            results.append(
                {
                    "id": str(len(self.notes)),
                    "properties": {},
                    "objectWriteTraceId": each["objectWriteTraceId"],
                }
            )
        return JSONResponse({"status": "COMPLETE", "results": results}, 201)

    def _search_notes(self, asked: Any) -> Response:
        tokens = [each["filters"][0]["value"] for each in asked["filterGroups"]]
        if len(tokens) > 5:
            return _error(400, "VALIDATION_ERROR")
        found = [
            {"id": str(number), "properties": {"hs_note_body": note["properties"]["hs_note_body"]}}
            for number, note in enumerate(self.notes)
            if any(token in note["properties"]["hs_note_body"] for token in tokens)
        ]
        return JSONResponse({"total": len(found), "results": found})


def _error(status: int, category: str, **more: Any) -> Response:
    return JSONResponse(
        {"status": "error", "category": category, "message": "Something is wrong"} | more, status
    )


def _shown(contact: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {
        "id": contact["hs_object_id"],
        "properties": {name: contact.get(name) for name in names},
        "updatedAt": contact["lastmodifieddate"],
        "archived": False,
    }


def _fits(contact: Mapping[str, Any], each: Mapping[str, str]) -> bool:
    held, wanted = _comparable(contact, each["propertyName"]), int(each["value"])
    return held > wanted if each["operator"] == "GT" else held == wanted


def _comparable(contact: Mapping[str, Any], name: str) -> int:
    if name == "hs_object_id":
        return int(contact[name])
    return int(_moment(contact[name]).timestamp() * 1000 + 0.5)


def _is_wrong(given: Mapping[str, Any]) -> bool:
    names, points = {str(each["name"]) for each in PROPERTIES}, given["properties"].get("points", "")
    is_number = points.replace(".", "", 1).lstrip("-").isdecimal()
    return not given["properties"].keys() <= names or (points != "" and not is_number)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
