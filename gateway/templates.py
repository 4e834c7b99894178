"""Path templates of `google.api.http`: literal segments and variables that stand for one segment each."""

import re
from dataclasses import dataclass
from typing import Self

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template."""

    text: str
    # Each a literal, or None where a variable stands.
    segments: tuple[str | None, ...]
    variables: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `/v1/lists/{list_id}/contacts`; raises ValueError for what the gateway does not speak."""
        segments: list[str | None] = []
        variables: list[str] = []
        for segment in text.removeprefix("/").split("/"):
            variable = _VARIABLE.fullmatch(segment)
            if variable is not None:
                variables.append(variable[1])
                segments.append(None)
            elif text.startswith("/") and _LITERAL.fullmatch(segment):
                segments.append(segment)
            else:
                raise ValueError(f"{text!r} is not a path template of literals and whole-segment variables")
        if len(set(variables)) != len(variables):
            raise ValueError(f"{text!r} names a variable twice")
        return cls(text, tuple(segments), tuple(variables))
