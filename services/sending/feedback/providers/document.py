"""JSON as a provider posts it: read by name, and whatever is not as it should be is as if it were not there."""

from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json


class Document:
    """An object of JSON. Nothing that a provider may write makes reading it fail."""

    def __init__(self, value: object) -> None:
        self._members: dict[str, Any] = value if isinstance(value, dict) else {}

    @classmethod
    def read(cls, text: bytes | str) -> "Document":
        """The object that a text is; an empty one where it is none."""
        return cls(_parsed(text))

    @classmethod
    def read_all(cls, text: bytes | str) -> "list[Document]":
        """The objects in the list that a text is; the one that it is, where it is no list."""
        value = _parsed(text)
        return [cls(each) for each in value] if isinstance(value, list) else [cls(value)]

    def __contains__(self, name: str) -> bool:
        return self._members.get(name) is not None

    def text(self, name: str) -> str:
        """A member that is a text or a whole number, as text; empty where it is neither."""
        value = self._members.get(name)
        if isinstance(value, str):
            return value
        return str(value) if type(value) is int else ""

    def holds(self, name: str) -> bool:
        """Whether a member is true."""
        return self._members.get(name) is True

    def part(self, name: str) -> "Document":
        """A member that is an object; an empty one where it is none."""
        return Document(self._members.get(name))

    def parts(self, name: str) -> "Iterator[Document]":
        """The objects in a member that is a list."""
        value = self._members.get(name)
        return map(Document, value if isinstance(value, list) else ())


def _parsed(text: bytes | str) -> object:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
