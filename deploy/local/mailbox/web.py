"""The mailbox on HTTP: the API that tests and the demo read mail by, and the page for people."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deploy.local.mailbox import finding, query
from deploy.local.mailbox.store import Store

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self';"
    " form-action http: https:; base-uri 'none'; frame-ancestors 'none'"
)
# What a mail holds is shown without scripts and in an origin of its own; its links open elsewhere.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline';"
    " img-src http: https: data:; font-src http: https: data:; frame-ancestors 'self'"
)
_FILES = {
    "/": ("inbox.html", "text/html; charset=utf-8"),
    "/inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    "/inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    content_type: str
    body: bytes
    policy: str = "default-src 'none'"


Handler = Callable[[re.Match[str], bytes], Awaitable[Answer]]


class Web:
    """The ASGI application."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._routes: tuple[tuple[re.Pattern[str], Mapping[str, Handler]], ...] = (
            (re.compile("/api/messages"), {"GET": self._list, "DELETE": self._empty}),
            (re.compile("/api/messages/([0-9]{1,18})"), {"GET": self._message}),
            (re.compile("/api/messages/([0-9]{1,18})/raw"), {"GET": self._raw}),
            (re.compile("/api/messages/([0-9]{1,18})/html"), {"GET": self._html}),
            (re.compile("/api/count"), {"GET": self._count}),
            (re.compile("/|/inbox[.](?:css|js)"), {"GET": self._file}),
            (re.compile("/(?:healthz|readyz)"), {"GET": self._health}),
            (re.compile("/metrics"), {"GET": self._metrics}),
        )

    async def __call__(
        self,
        scope: dict[str, Any],
        _receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        answer = await self._answer(scope["method"], scope["path"], scope["query_string"])
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"content-security-policy", answer.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, method: str, path: str, query_string: bytes) -> Answer:
        for pattern, handlers in self._routes:
            if match := pattern.fullmatch(path):
                handler = handlers.get("GET" if method == "HEAD" else method)
                if handler is None:
                    return _problem(405, f"{path} takes {', '.join(handlers)}")
                try:
                    return await handler(match, query_string)
                except query.BadQuery as bad:
                    return _problem(400, str(bad))
        return _problem(404, f"there is no {path}")

    async def _list(self, _match: re.Match[str], query_string: bytes) -> Answer:
        values = query.parameters(query_string)
        wanted, page = query.wanted(values, paged=True), query.page(values)
        return _json(
            await asyncio.to_thread(
                finding.find, self._store, wanted, limit=page.limit, before=page.before, whole=page.whole
            )
        )

    async def _count(self, _match: re.Match[str], query_string: bytes) -> Answer:
        wanted = query.wanted(query.parameters(query_string), paged=False)
        return _json({"count": await asyncio.to_thread(finding.count, self._store, wanted)})

    async def _empty(self, _match: re.Match[str], _query: bytes) -> Answer:
        return _json({"deleted": await asyncio.to_thread(finding.empty, self._store)})

    async def _message(self, match: re.Match[str], _query: bytes) -> Answer:
        message = await asyncio.to_thread(finding.message, self._store, int(match[1]))
        return _json(message) if message else _no_message()

    async def _raw(self, match: re.Match[str], _query: bytes) -> Answer:
        content = await asyncio.to_thread(finding.content, self._store, int(match[1]))
        return _no_message() if content is None else Answer(200, "message/rfc822", content)

    async def _html(self, match: re.Match[str], _query: bytes) -> Answer:
        message = await asyncio.to_thread(finding.message, self._store, int(match[1]))
        parts = message["parts"] if message else []
        for part in parts:
            if part.content_type == "text/html":
                body = '<!doctype html><base target="_blank">' + part.content
                return Answer(200, "text/html; charset=utf-8", body.encode("utf-8", "replace"), _MAIL_POLICY)
        return _no_message()

    async def _file(self, match: re.Match[str], _query: bytes) -> Answer:
        name, content_type = _FILES[match[0]]
        body = (resources.files(__package__) / "page" / name).read_bytes()
        return Answer(200, content_type, body, _PAGE_POLICY)

    async def _health(self, _match: re.Match[str], _query: bytes) -> Answer:
        await asyncio.to_thread(finding.message, self._store, 0)
        return _json({"status": "ok"})

    async def _metrics(self, _match: re.Match[str], _query: bytes) -> Answer:
        return Answer(200, CONTENT_TYPE_LATEST, generate_latest())


def _json(value: object) -> Answer:
    return Answer(200, "application/json", orjson.dumps(value))


def _no_message() -> Answer:
    return _problem(404, "there is no such message")


def _problem(status: int, detail: str) -> Answer:
    body = orjson.dumps({"type": "about:blank", "status": status, "detail": detail})
    return Answer(status, "application/problem+json", body)
