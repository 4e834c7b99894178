"""Sets of rows as parameters: lists of ids, texts and bytes in PostgreSQL's text form, without a call for each element.

The driver calls a function an element, which for the rows of a batch takes as long as the rest of their statement.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from psycopg.abc import Buffer
from psycopg.types.array import ListDumper


class ArrayDumper(ListDumper):
    """Dumps lists of one of the types it knows by itself, and leaves all others to the driver."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        """The array literal (https://www.postgresql.org/docs/18/arrays.html#ARRAYS-IO)."""
        known = _LITERALS.get(type(obj[0])) if obj else None
        literal = known(obj) if known else None
        return super().dump(obj) if literal is None else literal.encode()


def _of_ids(ids: list[UUID]) -> str | None:
    try:
        return "{" + ",".join([each.hex for each in ids]) + "}"
    except AttributeError:
        return None


def _of_texts(texts: list[str]) -> str | None:
    try:
        joined = '","'.join(texts)
    except TypeError:
        return None
    # A zero is refused, and by the driver.
    if "\\" in joined or "\0" in joined or joined.count('"') > 2 * (len(texts) - 1):
        return None
    return '{"' + joined + '"}'


def _of_bytes(values: list[bytes]) -> str | None:
    try:
        return '{"\\\\x' + '","\\\\x'.join([each.hex() for each in values]) + '"}'
    except AttributeError:
        return None


# By the type of the first element; None of these where another one's is another.
_LITERALS: Mapping[type, Callable[[Any], str | None]] = {UUID: _of_ids, str: _of_texts, bytes: _of_bytes}
