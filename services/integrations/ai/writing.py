"""Writes a mail by a brief: a language model drafts it, the template engine looks at it, and one that is not good is written once more."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from chassis.context import RequestContext
from chassis.errors import Unavailable
from services.integrations.ai.language_model import Form, LanguageModel, Message, most_tokens_of
from services.integrations.ai.mail_checks import MailChecks
from services.integrations.ai.markup import flaws_of_markup
from services.integrations.ai.spending import Spending

_ATTEMPTS = 2
# Of one draft.
_MOST_TOKENS = 8_000
_MOST_CHARACTERS = 100_000
# What is said of a draft that is not good.
_MOST_FLAWS = 3_000
_MOST_SUBJECT_LINES = 10

_INSTRUCTIONS = (resources.files(__package__) / "writing.txt").read_text("utf-8")


class DraftedLine(BaseModel):
    """A subject with its preheader."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    preheader: str


class Draft(BaseModel):
    """A mail as the model gives it."""

    model_config = ConfigDict(extra="forbid")

    subject_lines: list[DraftedLine]
    html: str


_FORM = Form("mail", Draft.model_json_schema())


@dataclass(frozen=True, slots=True)
class Brief:
    """What a mail is to be. What is empty is left to the model."""

    goal: str
    audience: str
    tone: str
    language: str
    brand_notes: str
    words: int
    based_on: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What comes next of a draft's HTML."""

    attempt: int
    html: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail with which a campaign could be launched."""

    lines: Sequence[DraftedLine]
    html: str
    text: str


def cost_at_most(brief: Brief) -> int:
    """How many tokens it may take to write it, at most."""
    # The second time the draft, and what is wrong with it, are told, too.
    first = most_tokens_of(_opening(brief), _MOST_TOKENS)
    return _ATTEMPTS * first + (_ATTEMPTS - 1) * (_MOST_TOKENS + _MOST_FLAWS)


async def write(
    brief: Brief, model: LanguageModel, checks: MailChecks, context: RequestContext, spending: Spending
) -> AsyncGenerator[Piece | Mail, None]:
    """The pieces of drafts as they come, and the mail when one is good. Raises Unavailable, also when none is."""
    messages = _opening(brief)
    for attempt in range(1, _ATTEMPTS + 1):
        reading = _Reading()
        answer = model.answer(messages, _FORM, most_tokens=_MOST_TOKENS, spending=spending)
        async with aclosing(answer):
            async for piece in answer:
                if html := reading.more(piece):
                    yield Piece(attempt, html)
        found = await _checked(reading.text, checks, context)
        if isinstance(found, Mail):
            yield found
            return
        messages = [*messages, *_once_more(reading.text, found)]
    raise Unavailable("What the AI provider wrote is no mail that could be sent. Another time it may be.")


class _Reading:
    """Reads a draft while it is being written."""

    def __init__(self) -> None:
        self.text = ""
        self._told = 0

    def more(self, piece: str) -> str:
        """What has come of the HTML with this piece. Raises Unavailable when there is no end of it."""
        self.text += piece
        if len(self.text) > _MOST_CHARACTERS:
            raise Unavailable("The AI provider does not come to an end.")
        html = _html_so_far(self.text)
        told, self._told = self._told, len(html)
        return html[told:]


def _html_so_far(text: str) -> str:
    try:
        begun = from_json(_without_fence(text), allow_partial="trailing-strings")
    except ValueError:
        return ""
    html = begun.get("html", "") if isinstance(begun, dict) else ""
    return html if isinstance(html, str) else ""


def _without_fence(text: str) -> str:
    """Some models write ```json around what they were asked for."""
    return text[max(0, text.find("{")) :].rstrip().removesuffix("```")


async def _checked(text: str, checks: MailChecks, context: RequestContext) -> Mail | Sequence[str]:
    """The mail, or what is wrong with the draft, in words."""
    try:
        draft = Draft.model_validate_json(_without_fence(text))
    except ValidationError as wrong:
        return [
            f"{'.'.join(map(str, each['loc'])) or 'the answer'}: {each['msg']}" for each in wrong.errors()
        ]
    if not 0 < len(draft.subject_lines) <= _MOST_SUBJECT_LINES:
        return [f"subject_lines: there must be 1 to {_MOST_SUBJECT_LINES}"]
    checked = await checks.check(
        context,
        [line.subject for line in draft.subject_lines],
        [line.preheader for line in draft.subject_lines],
        draft.html,
    )
    flaws = [*checked.flaws, *(f"html: {flaw}" for flaw in flaws_of_markup(draft.html))]
    return flaws or Mail(draft.subject_lines, checked.html, checked.text)


def _opening(brief: Brief) -> list[Message]:
    given: dict[str, Any] = {
        "goal": brief.goal,
        "audience": brief.audience,
        "tone": brief.tone,
        "language": brief.language or "the language of the goal",
        "brand_notes": brief.brand_notes,
        "length": f"about {brief.words} words",
        "based_on": brief.based_on,
    }
    told = {name: value for name, value in given.items() if value}
    return [
        {"role": "system", "content": _INSTRUCTIONS},
        {"role": "user", "content": json.dumps(told, ensure_ascii=False)},
    ]


def _once_more(draft: str, flaws: Iterable[str]) -> list[Message]:
    listed = "\n".join(f"- {flaw}" for flaw in flaws)[:_MOST_FLAWS]
    return [
        {"role": "assistant", "content": draft},
        {
            "role": "user",
            "content": f"This cannot be sent. Write it once more, without what is wrong:\n{listed}",
        },
    ]
