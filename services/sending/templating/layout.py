"""Layouts: templates around others, which stand where the layout says {{ content }}."""

import re

from chassis.errors import FieldViolation, InvalidRequest

_CONTENT = re.compile(r"\{\{-?\s*content\s*-?\}\}")


def is_layout(html: str) -> bool:
    """Whether a template stands around others."""
    return _CONTENT.search(html) is not None


def without_content(field: str, source: str) -> str:
    """A layout as a template of its own, each character in its place. Raises InvalidRequest when it has two places for others."""
    if len(_CONTENT.findall(source)) > 1:
        raise InvalidRequest(FieldViolation(field, "says {{ content }} more than once"))
    return _CONTENT.sub(lambda place: " " * len(place[0]), source)


def around(layout: str, content: str) -> str:
    """The content within the layout; where the layout has no place for it, the content alone."""
    return _CONTENT.sub(lambda _: content, layout) if is_layout(layout) else content
