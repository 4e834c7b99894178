"""A file of contacts on a slow line: the first half of it comes at once, the rest when the line is let go on."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx

_BOUNDARY = "half.and.half"


class SlowUpload:
    """On its way from `send` on."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": f"multipart/form-data; boundary={_BOUNDARY}",
        }
        self._going_on = asyncio.Event()
        self.begun = asyncio.Event()

    def go_on(self) -> None:
        """Let the rest come."""
        self._going_on.set()

    async def send(self, people: Sequence[str]) -> str:
        """Send them; answers the import's id once the whole file was taken."""
        async with httpx.AsyncClient(timeout=None, verify=False) as http:
            answer = await http.post(
                f"{self._url}/v1/contacts/imports", headers=self._headers, content=self._body(people)
            )
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    async def _body(self, people: Sequence[str]) -> AsyncIterator[bytes]:
        head = 'Content-Disposition: form-data; name="file"; filename="people.csv"\r\nContent-Type: text/csv'
        yield f"--{_BOUNDARY}\r\n{head}\r\n\r\nemail\r\n".encode()
        half = len(people) // 2
        yield "".join(f"{email}\r\n" for email in people[:half]).encode()
        self.begun.set()
        await self._going_on.wait()
        yield "".join(f"{email}\r\n" for email in people[half:]).encode()
        yield f"\r\n--{_BOUNDARY}--\r\n".encode()
