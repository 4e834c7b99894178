"""All HTTP that goes out to CRMs: one pool of connections, bounded time and size, no redirects, nothing of it logged."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpx
import orjson

from services.integrations.crm.errors import Broken

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 20.0
_CALL_SECONDS = 60.0
# A page of 2,000 contacts with fifty properties each is some 4 MB.
_MOST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status; header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body, parsed. Raises Broken."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Broken(f"The CRM answered {self.status} with something that is not JSON.") from None

    def object(self) -> dict[str, Any]:
        """Its body, a JSON object. Raises Broken."""
        parsed = self.json()
        if not isinstance(parsed, dict):
            raise Broken(f"The CRM answered {self.status} with JSON of another form than it publishes.")
        return parsed

    def retry_after(self) -> float | None:
        """Seconds that Retry-After asks for, in either form (RFC 9110 §10.2.3); None where there is none to be read."""
        value = self.headers.get("retry-after", "")
        try:
            wait = float(value) if value[:1].isdigit() else (_moment(value) - self.sent_at()).total_seconds()
        except ValueError:
            return None
        return max(0.0, wait) if math.isfinite(wait) else None

    def sent_at(self) -> datetime:
        """The CRM's own clock as it answered (RFC 9110 §6.6.1), ours where it does not say."""
        try:
            return _moment(self.headers.get("date", ""))
        except ValueError:
            return datetime.now(UTC)


class HttpClient:
    """One for a process. Use it as a context; `seconds` bounds a call as a whole, `most_bytes` an answer, unpacked."""

    def __init__(self, *, seconds: float = _CALL_SECONDS, most_bytes: int = _MOST_BYTES) -> None:
        # It logs every URL, and addresses of people stand in some.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=50, keepalive_expiry=30),
            follow_redirects=False,
            # Neither a proxy nor a .netrc of the machine has a say in where secrets go.
            trust_env=False,
            headers={"User-Agent": "FlowNurture", "Accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Answer:
        """Send once, and read the whole answer. Raises Broken where there is none; nothing is repeated by itself."""
        content = None if json is None else orjson.dumps(json)
        named = {**(headers or {}), **({"Content-Type": "application/json"} if content is not None else {})}
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(
                    method, url, headers=named, params=query, data=form, content=content
                ) as response,
            ):
                body = await self._read(response)
        except TimeoutError:
            raise Broken(f"The CRM did not answer within {self._seconds:.0f} seconds.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Its text may hold the URL; its name says what matters.
            raise Broken(f"The CRM could not be reached ({type(error).__name__}).") from None
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._most_bytes:
                raise Broken(f"The CRM answered more than {self._most_bytes // 1024} KB.")
        return bytes(body)


def _moment(value: str) -> datetime:
    """Raises ValueError."""
    try:
        moment = parsedate_to_datetime(value)
    except (IndexError, OverflowError, TypeError) as error:
        raise ValueError(value) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
