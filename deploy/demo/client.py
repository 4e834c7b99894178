"""A caller of the public API, with its credential and nothing else."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

Json = dict[str, Any]

_PATIENCE_SECONDS = 30
_PAUSE_SECONDS = 0.5


class UnexpectedAnswer(Exception):
    """The API answered otherwise than the story needs to go on."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a call was answered with when it was meant to fail: the status, and the problem's name."""

    status: int
    problem: str

    def __str__(self) -> str:
        return f"{self.status} {self.problem}".strip()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is still to be made."""

    client: "Client"
    method: str
    path: str
    body: Json | None = None


class Client:
    """Calls the gateway as one user or key; without a credential, as anybody."""

    def __init__(self, http: httpx.AsyncClient, credential: str = "") -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {credential}"} if credential else {}

    async def get(self, path: str, **query: str | int) -> Json:
        """Read; raises UnexpectedAnswer unless it succeeds."""
        return _content(await self._call("GET", path, params=query))

    async def post(self, path: str, body: Json | None = None) -> Json:
        """Create or act; raises UnexpectedAnswer unless it succeeds."""
        return _content(await self._call("POST", path, json=body or {}))

    async def patch(self, path: str, body: Json) -> Json:
        """Change; raises UnexpectedAnswer unless it succeeds."""
        return _content(await self._call("PATCH", path, json=body))

    async def delete(self, path: str) -> None:
        """Delete; raises UnexpectedAnswer unless it succeeds."""
        _content(await self._call("DELETE", path))

    async def upload(self, path: str, options: str, name: str, content: bytes) -> Json:
        """Send a CSV file with its options (JSON) as multipart/form-data."""
        parts = [
            ("options", (None, options.encode(), "application/json")),
            ("file", (name, content, "text/csv")),
        ]
        return _content(await self._call("POST", path, files=parts))

    async def every(self, path: str, resource: str, **query: str | int) -> list[Json]:
        """All of a list, page by page."""
        found: list[Json] = []
        token = ""
        while True:
            paging: dict[str, str | int] = {"page_size": 500} | ({"page_token": token} if token else {})
            page = await self.get(path, **query, **paging)
            found += page[resource]
            token = page["next_page_token"]
            if not token:
                return found

    async def refusal(self, method: str, path: str, body: Json | None = None) -> Refusal:
        """Call what ought to be refused, and tell how it was."""
        answer = await self._call(method, path, json=body)
        kind = answer.headers.get("content-type", "")
        problem = answer.json().get("type", "") if kind.startswith("application/problem+json") else ""
        return Refusal(answer.status_code, str(problem).rpartition("/")[2])

    async def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Call as a good client does: wait as told by the rate limit, and be patient with a process that restarts."""
        # One key for all attempts: what is asked for again is not done again.
        headers = {**self._headers, "Idempotency-Key": str(uuid4())} if method == "POST" else self._headers
        patience = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            impatient = "files" in content or asyncio.get_running_loop().time() > patience
            pause = _PAUSE_SECONDS
            try:
                answer = await self._http.request(method, path, headers=headers, **content)
            except httpx.TransportError:
                if impatient:
                    raise
            else:
                if impatient or answer.status_code not in (429, 503):
                    return answer
                pause = float(answer.headers.get("Retry-After", pause))
            await asyncio.sleep(pause)


async def refusals(calls: Sequence[Call]) -> list[Refusal]:
    """Make several calls that ought to be refused, at once."""
    return list(
        await asyncio.gather(*(call.client.refusal(call.method, call.path, call.body) for call in calls))
    )


def _content(answer: httpx.Response) -> Json:
    if not answer.is_success:
        raise UnexpectedAnswer(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:500]}"
        )
    content: Json = answer.json() if answer.content else {}
    return content
