"""Automatic replies (RFC 3834): a program answered for a person, whose mailbox therefore takes mail."""

import re
import tomllib
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from services.sending.feedback.mail import Mail

_ANSWER = re.compile(r"^(?:\s*(?:re|aw|sv|antw|fwd?|rép|回复|答复|返信)\s*[:：])+\s*|^\W+", re.IGNORECASE)


class _Signs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    headers: dict[str, list[str]]
    values: dict[str, list[str]]
    subject: dict[str, str]


def is_automatic_reply(mail: Mail) -> bool:
    """Whether a program wrote it, by its header first and by its subject else."""
    if mail.report_type == "disposition-notification" or mail.part("message/disposition-notification"):
        # A receipt that it was read (RFC 8098).
        return True
    signs, fields = _signs(), mail.fields
    if any(
        name in fields and fields.get(name).split(";")[0].lower() not in map(str.lower, harmless)
        for name, harmless in signs.headers.items()
    ):
        return True
    if any(fields.get(name).lower() in words for name, words in signs.values.items()):
        return True
    return is_called_automatic(mail)


def is_called_automatic(mail: Mail) -> bool:
    """Whether its subject is one that such programs write, in one of their languages."""
    return _subject().match(_ANSWER.sub("", mail.fields.get("subject"))) is not None


@cache
def _signs() -> _Signs:
    listed = resources.files(__package__).joinpath("automatic_replies.toml").read_text("utf-8")
    return _Signs.model_validate(tomllib.loads(listed))


@cache
def _subject() -> re.Pattern[str]:
    return re.compile(_signs().subject["begins"].replace("\n", ""), re.IGNORECASE)
