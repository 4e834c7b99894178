"""What is asked of the language model that the operator chose, if any; how that is asked is in `chat_completions.py`.

What it is told and what it answers is the organization's: neither is logged, nor part of any error.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chassis.errors import Unavailable
from services.integrations.ai.settings import AiSettings
from services.integrations.ai.spending import Spending

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

# A token is a byte at least. What an API adds to what it is told.
_ADDED_TOKENS = 1_000

Message: TypeAlias = "ChatCompletionMessageParam"
Tool: TypeAlias = "ChatCompletionFunctionToolParam"


class NoLanguageModel(Unavailable):
    """The operator has configured none."""

    def __init__(self) -> None:
        super().__init__("No AI provider is configured on this platform: its operator has to set one up.")


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer: a JSON schema, by its name."""

    name: str
    schema: dict[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """What the model wants to have done: a tool's name and its arguments, as the model wrote them."""

    id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says, and what it wants to have done before it goes on."""

    text: str
    calls: Sequence[Call]


class LanguageModel(AbstractAsyncContextManager["LanguageModel"]):
    """Is asked, from entering to leaving."""

    def require(self) -> None:
        """Raise NoLanguageModel unless there is one."""

    @abstractmethod
    def answer(
        self, messages: Sequence[Message], form: Form, *, most_tokens: int, spending: Spending
    ) -> AsyncGenerator[str, None]:
        """The pieces of an answer as they come, of so many tokens at most. Raises Unavailable.

        What it cost is spent however it ends; where the API does not say, by the bytes of question and answer.
        """

    @abstractmethod
    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool], *, most_tokens: int, spending: Spending
    ) -> Reply:
        """One answer as a whole, of so many tokens at most, by a model that may ask for these tools. Raises Unavailable."""


class _NotSetUp(LanguageModel):
    """Tells whoever asks that there is none."""

    async def __aexit__(self, *_: object) -> None: ...

    def require(self) -> None:
        raise NoLanguageModel

    async def answer(
        self, messages: Sequence[Message], form: Form, *, most_tokens: int, spending: Spending
    ) -> AsyncGenerator[str, None]:
        raise NoLanguageModel
        yield

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool], *, most_tokens: int, spending: Spending
    ) -> Reply:
        raise NoLanguageModel


def language_model(settings: AiSettings) -> LanguageModel:
    """The one that the operator chose, or one that tells whoever asks that there is none."""
    if not settings.ai_base_url:
        return _NotSetUp()
    # Where there is none its client, a fifth of what the process would load, is not loaded.
    from services.integrations.ai.chat_completions import ChatCompletions  # noqa: PLC0415

    return ChatCompletions(settings)


def most_tokens_of(messages: Sequence[Message], answer_tokens: int) -> int:
    """How many tokens question and answer may cost together, at most."""
    return bytes_of(messages) + _ADDED_TOKENS + answer_tokens


def bytes_of(messages: Sequence[Message]) -> int:
    """How long they are."""
    return sum(
        len(str(message.get(part) or "").encode())
        for message in messages
        for part in ("content", "tool_calls")
    )
