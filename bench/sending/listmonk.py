"""A listmonk that already runs, tuned by who runs it, through its public API (https://listmonk.app/docs/apis/apis/).

Told by LISTMONK_URL, LISTMONK_USER and LISTMONK_PASSWORD (an API user and its token), and LISTMONK_SMTP_PORT: the port on 127.0.0.1 that its
SMTP settings name, on which the relay that both hand over to then listens. Its list, subscribers and campaigns are made, and stay there.
"""

import json
import os
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx

from bench.sending import letter
from bench.sending.stage import PLAIN_DOMAIN
from bench.sending.turns import Turn

_VARIABLES = ("LISTMONK_URL", "LISTMONK_USER", "LISTMONK_PASSWORD", "LISTMONK_SMTP_PORT")
_LOOK_SECONDS = 0.1
_PATIENCE = 1_800.0


def is_given() -> bool:
    """Whether there is one to measure."""
    return all(os.environ.get(name) for name in _VARIABLES)


def smtp_port() -> int:
    """Where its relay must listen."""
    return int(os.environ["LISTMONK_SMTP_PORT"])


@dataclass(frozen=True)
class Listmonk:
    """One, as its API user sees it."""

    client: httpx.Client

    @classmethod
    def given(cls) -> "Listmonk":
        """The one that the environment tells of."""
        user = (os.environ["LISTMONK_USER"], os.environ["LISTMONK_PASSWORD"])
        return cls(httpx.Client(base_url=os.environ["LISTMONK_URL"], auth=user, timeout=120))

    def add_audience(self, size: int) -> int:
        """A list of so many subscribers who are in no other."""
        name = f"bench {time.time():.0f}"
        made = self._call("POST", "/api/lists", json={"name": name, "type": "private", "optin": "single"})
        list_id = int(made["id"])
        settings = {
            "mode": "subscribe",
            "subscription_status": "confirmed",
            "delim": ",",
            "lists": [list_id],
            "overwrite": True,
        }
        files = {"file": ("subscribers.csv", _subscribers(size, list_id), "text/csv")}
        self._call("POST", "/api/import/subscribers", data={"params": json.dumps(settings)}, files=files)
        self._await("/api/import/subscribers", "finished", "the import")
        return list_id

    def send(self, list_id: int, recipients: int) -> Turn:
        """Send the letter to a list, from its start until listmonk says that it is finished."""
        draft = {
            "name": "June",
            "subject": _translated(letter.SUBJECT),
            "lists": [list_id],
            "from_email": f"Ada <news@{PLAIN_DOMAIN}>",
            "type": "regular",
            "content_type": "html",
            "messenger": "email",
            "body": _translated(letter.html()),
            "altbody": _translated(letter.plain()),
        }
        campaign = f"/api/campaigns/{self._call('POST', '/api/campaigns', json=draft)['id']}"
        began = time.perf_counter()
        self._call("PUT", f"{campaign}/status", json={"status": "running"})
        finished = self._await(campaign, "finished", "the campaign")
        seconds = time.perf_counter() - began
        if finished["sent"] != recipients:
            raise SystemExit(f"listmonk sent {finished['sent']} of {recipients} messages")
        return Turn(recipients, seconds, {})

    def _await(self, path: str, status: str, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while (found := self._call("GET", path))["status"] != status:
            if found["status"] in ("failed", "cancelled", "paused") or time.monotonic() > deadline:
                raise SystemExit(f"listmonk: {what} is {found['status']}")
            time.sleep(_LOOK_SECONDS)
        return found

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        answer = self.client.request(method, path, **content)
        if answer.is_error:
            raise SystemExit(f"listmonk: {method} {path}: {answer.status_code} {answer.text}")
        data: dict[str, Any] = answer.json().get("data", {})
        return data


def _subscribers(size: int, list_id: int) -> bytes:
    lines = ["email,name,attributes"]
    for number in range(size):
        attributes = json.dumps({"score": number % 100, "city": f"City {number % 200}"}).replace('"', '""')
        person = f"First{number % 1000} Last{number % 5000}"
        lines.append(f'reader-{list_id}-{number}@example.com,{person},"{attributes}"')
    return "\n".join(lines).encode()


# The letter's marks, as Go's templates have them.
_MARKS = {
    "{{ contact.first_name | default: 'Hello' }}": "{{ .Subscriber.FirstName }}",
    "{{ contact.first_name }}": "{{ .Subscriber.FirstName }}",
    "{{ contact.last_name }}": "{{ .Subscriber.LastName }}",
    "{{ contact.custom_fields.city }}": "{{ .Subscriber.Attribs.city }}",
    "{{ contact.custom_fields.score }}": "{{ .Subscriber.Attribs.score }}",
    "{{ unsubscribe_url }}": "{{ UnsubscribeURL }}",
    "{% else %}": "{{ else }}",
    "{% endif %}": "{{ end }}",
}
_CONDITION = re.compile(r"\{% if contact\.custom_fields\.score (>=|>) (\d+) %\}")
_COMPARED = {">=": "ge", ">": "gt"}


def _translated(template: str) -> str:
    for ours, theirs in _MARKS.items():
        template = template.replace(ours, theirs)
    # A number of JSON is one of floating point in Go, and is compared with such alone.
    return _CONDITION.sub(
        lambda found: f"{{{{ if {_COMPARED[found[1]]} .Subscriber.Attribs.score {found[2]}.0 }}}}", template
    )
