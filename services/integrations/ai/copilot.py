"""Answers a question: a model asks for tools, is told what they give, and goes on until it has an answer."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from typing import TypeAlias

from chassis.context import RequestContext
from chassis.errors import Unavailable
from services.integrations.ai.answers import inert
from services.integrations.ai.language_model import Call, LanguageModel, Message, Reply, most_tokens_of
from services.integrations.ai.spending import Spending
from services.integrations.ai.tools import TOOLS, Proposal, Tools, known_name

_INSTRUCTIONS = (resources.files(__package__) / "copilot.txt").read_text("utf-8")

# How often the model may look at things before it has to answer, and at how many at a time.
_ROUNDS = 6
_MOST_CALLS = 8
_MOST_PROPOSALS = 10
# Of one reply.
_MOST_TOKENS = 4_000
_LONGEST_ANSWER = 20_000
# The descriptions of the tools are told each time, too.
_TOOLS_TOKENS = len(str(TOOLS))

# Sets so many tokens aside, and counts what is spent within.
Purse: TypeAlias = Callable[[int], AbstractAsyncContextManager[Spending]]
# Has the trail say which tools are about to be used.
Tell: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and answered before."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Step:
    """The tools that are used next."""

    tools: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of it."""

    text: str
    proposals: Sequence[Proposal]
    tools: Sequence[str]
    tokens: int


async def ask(
    question: str,
    history: Sequence[Exchange],
    *,
    model: LanguageModel,
    tools: Tools,
    context: RequestContext,
    purse: Purse,
    tell: Tell,
) -> AsyncGenerator[Step | Answer, None]:
    """The steps as they are taken, then the answer. Raises Unavailable, TokenLimitReached."""
    messages = _opening(question, history)
    proposals: list[Proposal] = []
    used: list[str] = []
    tokens = 0
    for left in reversed(range(_ROUNDS + 1)):
        # Out of rounds there is nothing left but to answer.
        offered = TOOLS if left else []
        async with purse(most_tokens_of(messages, _MOST_TOKENS) + _TOOLS_TOKENS) as spending:
            reply = await model.reply(messages, offered, most_tokens=_MOST_TOKENS, spending=spending)
        tokens += spending.tokens
        calls = reply.calls[:_MOST_CALLS] if left else []
        if not calls:
            if not reply.text.strip():
                raise Unavailable("The AI provider gave no answer. Another time it may.")
            yield Answer(inert(reply.text[:_LONGEST_ANSWER]), proposals[:_MOST_PROPOSALS], used, tokens)
            return
        names = [known_name(call.tool) for call in calls]
        # Told first: whatever happens then, it is known what was about to be looked at.
        await tell(names)
        used += names
        yield Step(names)
        messages.append(_asked_for(reply, calls))
        for call in calls:
            given = await tools.use(call.tool, call.arguments, context, proposals)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": given})


def _opening(question: str, history: Sequence[Exchange]) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": _INSTRUCTIONS}]
    for before in history:
        messages.append({"role": "user", "content": before.question})
        messages.append({"role": "assistant", "content": before.answer})
    messages.append({"role": "user", "content": question})
    return messages


def _asked_for(reply: Reply, calls: Sequence[Call]) -> Message:
    return {
        "role": "assistant",
        "content": reply.text,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.tool, "arguments": call.arguments},
            }
            for call in calls
        ],
    }
