"""Notices: servers that say in words alone that a mail did not arrive, each in its own (qmail, exim, older Exchange, national ones)."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from services.sending.feedback.automatic_replies import is_called_automatic
from services.sending.feedback.mail import Mail

_OPENS_WITHIN = 1_500
# The diagnosis stands around a reply: `550 5.1.1 …`, `(#5.1.1)`, `SMTP error …: 550`; its words before or after it.
_REPLY = re.compile(
    r"(?<![\d.])[45]\d\d[ -]#?[45]\.\d{1,3}\.\d{1,3}|#[45]\.\d{1,3}\.\d{1,3}|(?<![\w.:/-])[45]\d\d(?=[ -:])(?!\s*(?:KB|MB|bytes))|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?!\.?\d)"
)
_BEFORE, _AFTER = 200, 400


def _as_pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("\n", ""), re.IGNORECASE | re.MULTILINE)


_Words = Annotated[re.Pattern[str], BeforeValidator(_as_pattern)]


class _Signs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    senders: _Words
    fields: tuple[str, ...]
    openings: _Words
    subjects: _Words
    delays: _Words
    quotes: _Words


@dataclass(frozen=True, slots=True)
class Notice:
    """What a server said: its diagnosis, as far as one can be told from the words around it."""

    diagnosis: str
    code: int | None
    is_delay: bool
    reporter: str


def notice(mail: Mail, *, by_subject: bool = False) -> Notice | None:
    """The notice that a mail is, by who wrote it and how it begins; `by_subject` takes that as well. None where it is none."""
    signs = _signs()
    text = _own_words(mail.text)
    sender, subject = mail.fields.get("from"), mail.fields.get("subject")
    # A postmaster who is away is a person all the same.
    by_sender = signs.senders.search(sender) is not None and not is_called_automatic(mail)
    is_one = (
        by_sender
        or any(name in mail.fields for name in signs.fields)
        or signs.openings.search(text[:_OPENS_WITHIN]) is not None
        or (by_subject and signs.subjects.search(subject) is not None)
    )
    if not is_one:
        return None
    found = _REPLY.search(text)
    diagnosis = text if found is None else text[max(0, found.start() - _BEFORE) : found.end() + _AFTER]
    code = re.match(r"[45]\d\d", found.group(0)) if found else None
    return Notice(
        diagnosis,
        int(code.group(0)) if code else None,
        signs.delays.search(f"{subject}\n{text[:_OPENS_WITHIN]}") is not None,
        _domain(sender),
    )


def _domain(sender: str) -> str:
    found = re.search(r"@([\w.-]{1,255})", sender)
    return found.group(1).lower() if found else ""


def _own_words(text: str) -> str:
    quote = _signs().quotes.search(text)
    return text[: quote.start()] if quote else text


@cache
def _signs() -> _Signs:
    listed = resources.files(__package__).joinpath("notices.toml").read_text("utf-8")
    return _Signs.model_validate(tomllib.loads(listed))
