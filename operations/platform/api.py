"""The platform's public API, as an operator calls it. What an operator does there is in the audit trail."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx

from operations.platform.session import NotLoggedIn, Session

Json = dict[str, Any]

_TIMEOUT_SECONDS = 30.0


class Refused(Exception):
    """The platform says no; the message is why."""


class NoAnswer(Exception):
    """The platform does not answer, or cannot at the moment."""


class Api:
    """Calls with a session, which is refreshed and kept anew when its token has expired."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._http = httpx.Client(base_url=session.url, timeout=_TIMEOUT_SECONDS)

    @property
    def url(self) -> str:
        """Where the platform is."""
        return self._session.url

    def get(self, path: str, **query: str | int) -> Json:
        """Read. Raises Refused, NoAnswer, NotLoggedIn, as all of these do."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Json | None = None) -> Json:
        """Create or act."""
        return self._call("POST", path, json=body or {})

    def patch(self, path: str, body: Json) -> Json:
        """Change."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> Json:
        """Take away."""
        return self._call("DELETE", path)

    def pages(self, path: str, **query: str | int) -> Iterator[Json]:
        """Read a list, page by page."""
        token = ""
        while True:
            page = self.get(path, page_token=token, **query)
            yield page
            if not (token := page["next_page_token"]):
                return

    def download(self, path: str) -> Generator[bytes, None, None]:
        """A file, piece by piece as it comes. Raises NoAnswer, too, when it breaks off."""
        with closing(self._answered("GET", path, stream=True)) as answer:
            try:
                if not answer.is_success:
                    answer.read()
                    content_of(answer)
                yield from answer.iter_bytes()
            except httpx.HTTPError as error:
                raise NoAnswer(f"{self.url} stopped in the midst of the answer: {error}") from None

    def _call(self, method: str, path: str, **content: Any) -> Json:
        return content_of(self._answered(method, path, **content))

    def _answered(self, method: str, path: str, **content: Any) -> httpx.Response:
        answer = self._send(method, path, **content)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._session.refresh_token:
            answer.close()
            self._refresh()
            answer = self._send(method, path, **content)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            answer.close()
            raise NotLoggedIn("The platform does not know this log-in any more: log in again.")
        return answer

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._session.access_token}"}
        return answered(self._http, method, path, headers=headers, **content)

    def _refresh(self) -> None:
        shown = {"refresh_token": self._session.refresh_token}
        answer = answered(self._http, "POST", "/v1/auth/refresh", json=shown)
        if answer.is_success:
            tokens = answer.json()
            self._session = replace(
                self._session, access_token=tokens["access_token"], refresh_token=tokens["refresh_token"]
            )
            self._session.keep()


def answered(
    http: httpx.Client, method: str, path: str, *, stream: bool = False, **content: Any
) -> httpx.Response:
    """What is answered, whatever it is; with `stream` its content is yet to be read. Raises NoAnswer."""
    try:
        return http.send(http.build_request(method, path, **content), stream=stream)
    except httpx.HTTPError as error:
        raise NoAnswer(f"{http.base_url} does not answer: {error}") from None


def content_of(answer: httpx.Response) -> Json:
    """What an answer holds. Raises Refused, NoAnswer."""
    if answer.is_success:
        content: Json = answer.json() if answer.content else {}
        return content
    said = _problem(answer)
    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise NoAnswer(said)
    raise Refused(said)


def _problem(answer: httpx.Response) -> str:
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.request.url} answered {answer.status_code}: is that the platform?"
    problem = answer.json()
    wrong = "".join(f"\n  {error['field']}: {error['message']}" for error in problem.get("errors", ()))
    return f"{problem['title']}: {problem['detail']}{wrong}"
