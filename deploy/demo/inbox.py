"""What really arrived, as the mailbox simulator shows it."""

import re
from dataclasses import dataclass

import httpx

_URL = re.compile(r"<(https?://[^>]+)>")
_ONE_CLICK = "List-Unsubscribe=One-Click"


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that arrived; header names are in lower case."""

    recipients: tuple[str, ...]
    headers: dict[str, list[str]]

    @property
    def unsubscribe_url(self) -> str:
        """Where one click unsubscribes (RFC 8058); empty when the headers do not offer it."""
        found = _URL.search(",".join(self.headers.get("list-unsubscribe", [])))
        one_click = self.headers.get("list-unsubscribe-post") == [_ONE_CLICK]
        return found[1] if found and one_click else ""


class Inbox:
    """Reads the mailbox simulator."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def mail_about(self, subject: str) -> list[Mail]:
        """Every message with this in its subject."""
        found: list[Mail] = []
        token = ""
        while True:
            query = {"subject": subject, "limit": "1000", "page_token": token}
            page = (await self._http.get("/api/messages", params=query)).raise_for_status().json()
            for message in page["messages"]:
                headers = {name.lower(): values for name, values in message["headers"].items()}
                found.append(Mail(tuple(message["envelope"]["to"]), headers))
            token = page["next_page_token"]
            if not token:
                return found


async def unsubscribe(http: httpx.AsyncClient, url: str) -> int:
    """One click, as a mail provider makes it: no cookie, no credential. Answers the HTTP status."""
    answer = await http.post(
        url, content=_ONE_CLICK, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    return answer.status_code
