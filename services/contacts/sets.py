"""Sets of values in SQL: each one bound array, whatever its size, so that a statement's text stays the same."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, TableValuedAlias, any_, column, func, literal
from sqlalchemy.dialects.postgresql import ARRAY


def among(held: ColumnElement[Any], values: Collection[object]) -> ColumnElement[bool]:
    """That the column holds one of the values."""
    return held == any_(literal(list(values), ARRAY(held.type)))


def rows_of(name: str, **columns: tuple[ColumnElement[Any], Collection[object]]) -> TableValuedAlias:
    """A table of values, given by column: each with a column of the database that has its type.

    The collections are equally long; the rows come from `unnest`.
    """
    arrays = [literal(list(values), ARRAY(like.type)) for like, values in columns.values()]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(key, like.type) for key, (like, _) in columns.items()), name=name)
        .render_derived()
    )
