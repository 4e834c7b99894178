"""`python -m bench.syncs.crm CONTACTS`: a HubSpot that limits nobody, as far as a sync asks it, in a process of its own.

It says on its first line where it is, and ends with its standard input. `POST /edit` with a number changes so many of its contacts.
"""

import asyncio
import socket
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

_V = "2026-03"
_CONTACTS = f"/crm/objects/{_V}/contacts"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Searches find at once what was written, so what was there before may be as old as the margin of who asks.
_AGE = timedelta(hours=2)
_PROPERTIES = [
    {"name": "firstname", "label": "First name", "type": "string", "fieldType": "text"},
    {"name": "lastname", "label": "Last name", "type": "string", "fieldType": "text"},
    {"name": "points", "label": "Points", "type": "number", "fieldType": "number"},
]

Told = Mapping[str, Any]


class Account:
    """Contacts by id, in the order of their last change: each has a millisecond of its own."""

    def __init__(self, contacts: int) -> None:
        self._held: dict[str, dict[str, str]] = {}
        self._by_email: dict[str, str] = {}
        self._moments: list[int] = []
        self._changed: list[str] = []
        self._now = int((time.time() - _AGE.total_seconds()) * 1_000)
        for number in range(contacts):
            names = {"firstname": f"First{number % 1_000}", "lastname": f"Last{number % 5_000}"}
            self._put({"email": f"person{number}@example.com", **names, "points": str(number % 100)})

    def answer(self, path: str, asked: Any) -> object:
        """What it says to a request."""
        return _ANSWERS[path](self, asked)

    def whose(self, _: object) -> Told:
        """GET of the account."""
        return {"portalId": id(self), "uiDomain": "app.hubspot.com"}

    def properties(self, _: object) -> Told:
        """GET of the properties."""
        return {"results": _PROPERTIES}

    def edit(self, number: int) -> Told:
        """Somebody changes so many, those whom nobody has changed for longest."""
        for contact_id in [each for each, _ in zip(self._live(0), range(number), strict=False)]:
            self._put({"lastname": f"Changed{self._now}"}, contact_id)
        return {}

    def search(self, asked: Told) -> Told:
        """By the time of the last change, or by id within a millisecond, of which none holds two."""
        filters = asked["filterGroups"][0]["filters"]
        if filters[0]["operator"] == "EQ":
            return {"total": 0, "results": []}
        start = bisect_right(self._moments, int(filters[0]["value"]))
        found = [each for each, _ in zip(self._live(start), range(asked["limit"]), strict=False)]
        return {"total": len(found), "results": [self._shown(each, asked["properties"]) for each in found]}

    def read(self, asked: Told) -> Told:
        """By ids or addresses."""
        keys = [each["id"] for each in asked["inputs"]]
        ids = map(self._by_email.get, keys) if asked.get("idProperty") == "email" else keys
        found = [self._shown(each, asked["properties"]) for each in ids if each in self._held]
        return {"status": "COMPLETE", "results": found}

    def write(self, asked: Told) -> Told:
        """Update, or upsert by address."""
        results = []
        for each in asked["inputs"]:
            by_email = each.get("idProperty") == "email"
            known = self._by_email.get(each["id"].lower()) if by_email else each["id"]
            contact_id = self._put(each["properties"], known)
            trace = {"objectWriteTraceId": each["objectWriteTraceId"]}
            results.append(self._shown(contact_id, ()) | trace)
        return {"status": "COMPLETE", "results": results}

    def opt_out(self, asked: Told) -> Told:
        """From all e-mail."""
        for email in asked["inputs"]:
            self._put({"hs_email_optout": "true"}, self._by_email[email.lower()])
        return {"results": [{"subscriberIdString": email} for email in asked["inputs"]]}

    def _put(self, properties: Mapping[str, str], contact_id: str | None = None) -> str:
        contact_id = contact_id or str(101 + len(self._held))
        held = self._held.setdefault(contact_id, {})
        held.update(properties)
        held["email"] = held["email"].lower()
        self._by_email[held["email"]] = contact_id
        if "moment" in held:
            self._changed[bisect_left(self._moments, int(held["moment"]))] = ""
        self._now = max(self._now + 1, int(time.time() * 1_000) if "moment" in held else 0)
        held["moment"] = str(self._now)
        self._moments.append(self._now)
        self._changed.append(contact_id)
        return contact_id

    def _live(self, start: int) -> Any:
        return (self._changed[place] for place in range(start, len(self._changed)) if self._changed[place])

    def _shown(self, contact_id: str, names: Sequence[str]) -> dict[str, Any]:
        held = self._held[contact_id]
        changed = _time(int(held["moment"]))
        properties = {name: changed if name == "lastmodifieddate" else held.get(name) for name in names}
        return {"id": contact_id, "properties": properties, "updatedAt": changed, "archived": False}


_ANSWERS: dict[str, Callable[[Account, Any], object]] = {
    f"/account-info/{_V}/details": Account.whose,
    f"/crm/properties/{_V}/contacts": Account.properties,
    f"{_CONTACTS}/search": Account.search,
    f"{_CONTACTS}/batch/read": Account.read,
    f"{_CONTACTS}/batch/update": Account.write,
    f"{_CONTACTS}/batch/upsert": Account.write,
    f"/communication-preferences/{_V}/statuses/batch/unsubscribe-all": Account.opt_out,
    "/edit": Account.edit,
}


async def serve(contacts: int) -> None:
    """Until nobody is there any more who started it."""
    account = Account(contacts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        told = orjson.dumps(account.answer(scope["path"], orjson.loads(body) if body else None))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    listener = socket.create_server(("127.0.0.1", 0))
    # Of a listener that is given asyncio does not ask for it, and a body would wait for the acknowledgement of its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve([listener]))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


def _time(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
