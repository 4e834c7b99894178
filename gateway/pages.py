"""The paths that the gateway answers by itself: health, and what tells people and programs how to use it."""

from collections.abc import Awaitable, Callable

from gateway.answers import Answer
from gateway.exchange import Exchange
from gateway.templates import Template

MakeAnswer = Callable[[], Awaitable[Answer]]


class Page:
    """A GET without variables, for everybody."""

    verb = "GET"

    def __init__(self, path: str, make: MakeAnswer) -> None:
        self.template = Template.parse(path)
        self._make = make

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """The page."""
        return await self._make()


def fixed(path: str, answer: Answer) -> Page:
    """A page that is always the same."""

    async def make() -> Answer:
        return Answer(answer.status, [*answer.headers], answer.body)

    return Page(path, make)
