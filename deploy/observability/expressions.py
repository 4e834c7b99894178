"""What a PromQL expression asks for: which metrics, and which of their labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql


class NotPromQL(Exception):
    """The expression is none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A metric, the labels it is narrowed or grouped by, and the values that they must be equal to."""

    metric: str
    labels: frozenset[str]
    values: frozenset[tuple[str, str]]


def asked_of(expression: str) -> list[Asked]:
    """All that an expression asks for. What it groups by it asks of everything inside. Raises NotPromQL."""
    try:
        tree = promql.parse(expression)
    except ValueError as error:
        raise NotPromQL(f"{error}: {expression}") from None
    return list(_asked(tree, frozenset()))


def _asked(node: promql.Expr, grouped_by: frozenset[str]) -> Iterator[Asked]:
    match node:
        case promql.AggregateExpr():
            by = frozenset(node.modifier.labels) if node.modifier else frozenset()
            yield from _asked(node.expr, grouped_by | by)
        case promql.BinaryExpr():
            yield from _asked(node.lhs, grouped_by)
            yield from _asked(node.rhs, grouped_by)
        case promql.Call():
            for argument in node.args:
                yield from _asked(argument, grouped_by)
        case promql.MatrixSelector():
            yield from _asked(node.vector_selector, grouped_by)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _asked(node.expr, grouped_by)
        case promql.VectorSelector():
            matchers = node.matchers.matchers
            equal = frozenset((each.name, each.value) for each in matchers if each.op == promql.MatchOp.Equal)
            yield Asked(str(node.name), grouped_by | {each.name for each in matchers}, equal)
        case _:
            return
