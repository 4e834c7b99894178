"""Sets of rows as parameters: lists in PostgreSQL's text form, without a call for each element.

The driver calls a function an element, which for the rows of a batch takes as long as the rest of their statement.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any
from uuid import UUID

from psycopg.abc import Buffer
from psycopg.types.array import ListDumper


class ArrayDumper(ListDumper):
    """Dumps lists whose elements are all of one type that it knows, or None, by itself, and leaves all others to the driver."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        """The array literal (https://www.postgresql.org/docs/18/arrays.html#ARRAYS-IO)."""
        kinds = set(map(type, obj))
        has_nulls = NoneType in kinds
        kinds.discard(NoneType)
        known = _ELEMENTS.get(kinds.pop()) if len(kinds) == 1 else None
        elements = known([each for each in obj if each is not None] if has_nulls else obj) if known else None
        if elements is None:
            return super().dump(obj)
        if has_nulls:
            given = iter(elements)
            elements = ["NULL" if each is None else next(given) for each in obj]
        return ("{" + ",".join(elements) + "}").encode()


def _ids(ids: Sequence[UUID]) -> Sequence[str]:
    return [each.hex for each in ids]


def _texts(texts: Sequence[str]) -> Sequence[str] | None:
    joined = "".join(texts)
    # A zero is refused, and by the driver.
    if "\\" in joined or "\0" in joined or '"' in joined:
        return None
    return [f'"{each}"' for each in texts]


def _bytes(values: Sequence[bytes]) -> Sequence[str]:
    return [f'"\\\\x{each.hex()}"' for each in values]


def _moments(moments: Sequence[datetime]) -> Sequence[str]:
    return [f'"{each.isoformat()}"' for each in moments]


def _flags(flags: Sequence[bool]) -> Sequence[str]:
    return ["t" if each else "f" for each in flags]


# By the type of the elements; None of these where one of them takes the driver's care.
_ELEMENTS: Mapping[type, Callable[[Any], Sequence[str] | None]] = {
    UUID: _ids,
    str: _texts,
    bytes: _bytes,
    datetime: _moments,
    bool: _flags,
}
