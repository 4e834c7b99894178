"""What a test knows to be secret, and where it may be read all the same."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx

from tests.integration.secret_search import Search


@dataclass(frozen=True)
class Written:
    """A piece of what was written: where it stands, and what stands there."""

    where: str
    content: bytes


@dataclass
class Ledger:
    """Secrets by name, and every answer that the test got."""

    answers: list[Written] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    _shown: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def note(self, response: httpx.Response) -> None:
        """Keep an answer: a hook of httpx."""
        await response.aread()
        head = b"".join(name + b": " + value + b"\n" for name, value in response.headers.raw)
        request = f"{response.request.method} {response.request.url.path}"
        where = f"answer {len(self.answers)} ({response.status_code}) to {request}"
        self.answers.append(Written(where, head + response.content))

    def learn(self, name: str, secret: str | bytes, *, shown_in: Iterable[str] = ()) -> None:
        """Something is secret. It may be read where `shown_in` says, which is how those places begin."""
        assert name not in self.secrets, name
        self.secrets[name] = secret.encode() if isinstance(secret, str) else secret
        self._shown[name] = tuple(shown_in)

    def learn_from_answer(self, name: str, secret: str, *, shown_in: Iterable[str] = ()) -> None:
        """The last answer has shown a secret, as it should; no other may."""
        self.learn(name, secret, shown_in=(self.answers[-1].where, *shown_in))

    def leaks(self, places: Iterable[Written]) -> list[str]:
        """Which secrets stand where they must not."""
        search = Search(self.secrets)
        return [
            f"{name} in {place.where}"
            for place in places
            for name in sorted(search.found(place.content))
            if not place.where.startswith(self._shown[name])
        ]
