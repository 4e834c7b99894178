"""Templates as steps: texts, values and conditions, of which nearly all of a mail consists, without a walk through its syntax tree.

A step does what the library's node does, and what is not known here is left to that node. The values of a contact are looked up in
the data alone, so a template that gives names to values of its own has no other steps than the library's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO, TypeAlias, cast

from liquid import BoundTemplate, RenderContext
from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import BooleanExpression, FilteredExpression, Literal, Nil, Path
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalNotExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.assign_tag import AssignNode
from liquid.builtin.tags.capture_tag import CaptureNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.expression import Expression
from liquid.stringify import to_liquid_string
from markupsafe import escape

from services.sending.templating.bounds import Context

_NAMING = (AssignNode, CaptureNode)
_CONSTANTS = (Literal, Nil, Empty, Blank)
_BINARY = (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
_UNARY = (BooleanExpression, LogicalNotExpression)
# What the library finds of a value although it is not in it.
_DERIVED = {"size", "first", "last"}
_SPECIAL = re.compile("[&<>'\"]")
# So little that it need not be counted.
_SMALL = 100


class Writer(Protocol):
    """Where a rendering goes, piece by piece."""

    def write(self, text: str, /) -> int:
        """Take a piece. Raises ResourceLimitError when it has been given too much."""


class Rendering:
    """A template with its data; what the library's own nodes need of it is made when the first of them needs it."""

    __slots__ = ("_bound", "_context", "autoescape", "data", "env")

    def __init__(self, bound: BoundTemplate, data: Mapping[str, object]) -> None:
        self._bound = bound
        self._context: Context | None = None
        self.env = bound.env
        self.autoescape: bool = bound.env.autoescape
        self.data = data

    @property
    def context(self) -> Context:
        """For the library."""
        if self._context is None:
            self._context = Context(self._bound, globals=self.data)
        return self._context


Step: TypeAlias = Callable[[Rendering, Writer], object]
Steps: TypeAlias = Sequence[tuple[int, Step]]


def steps_of(bound: BoundTemplate, nodes: Sequence[Node]) -> Steps:
    """What a template does, each step with the place in the source where it begins. `nodes` are all of its nodes."""
    names = any(isinstance(node, _NAMING) for node in nodes)
    of = _left_to_the_library if names else _step
    return [(node.token.start_index, of(node)) for node in bound.nodes]


def _left_to_the_library(node: Node) -> Step:
    # All that a node does with it is to write.
    return lambda rendering, writer: node.render(rendering.context, cast(TextIO, writer))


def _step(node: Node) -> Step:
    step: Step | None = None
    if isinstance(node, ContentNode):
        text = node.text
        step = lambda _, writer: writer.write(text)  # noqa: E731 - as short as it is frequent
    elif type(node) is OutputNode:
        step = _output(node)
    elif isinstance(node, IfNode) and not node.blank:
        step = _branch(node)
    return step or _left_to_the_library(node)


def _output(node: OutputNode) -> Step | None:
    value = _value(node.expression)
    if value is None:
        return None

    def output(rendering: Rendering, writer: Writer) -> None:
        found = value(rendering)
        if type(found) is not str:
            text = to_liquid_string(found, rendering.autoescape)
        elif rendering.autoescape and _SPECIAL.search(found):
            text = escape(found)
        else:
            text = found
        writer.write(text)

    return output


def _value(expression: Expression) -> Callable[[Rendering], object] | None:
    if not isinstance(expression, FilteredExpression):
        return None
    found = _without_paths(expression.left)
    filters = expression.filters or []
    if not isinstance(found, _Lookup):
        return None
    if not filters:
        return found.evaluate
    return _filtered(found, filters)


def _filtered(found: "_Lookup", filters: Sequence[Filter]) -> Callable[[Rendering], object]:
    has_default_alone = [each.name for each in filters] == ["default"]

    def filtered(rendering: Rendering) -> object:
        value = found.evaluate(rendering)
        # Whatever the default is, it is not for this.
        if has_default_alone and type(value) is str and 0 < len(value) <= _SMALL:
            return value
        for each in filters:
            value = each.evaluate(value, rendering.context)
        return value

    return filtered


def _branch(node: IfNode) -> Step | None:
    conditions = [
        _without_paths(node.condition),
        *(_without_paths(other.expression) for other in node.alternatives),
    ]
    if None in conditions:
        return None
    blocks = [node.consequence, *(other.block for other in node.alternatives)]
    branches = [
        (cast(Expression, condition).evaluate, _block(block))
        for condition, block in zip(conditions, blocks, strict=True)
    ]
    otherwise = _block(node.default) if node.default else []

    def branch(rendering: Rendering, writer: Writer) -> None:
        chosen = otherwise
        for holds, steps in branches:
            if holds(cast(RenderContext, rendering)):
                chosen = steps
                break
        for step in chosen:
            step(rendering, writer)

    return branch


def _block(block: BlockNode) -> list[Step]:
    if block.blank:
        # The library does what is in it and keeps nothing of what that says.
        return [_left_to_the_library(block)]
    return [_step(node) for node in block.nodes]


def _without_paths(expression: Expression) -> Expression | None:
    """The same expression, with look-ups in the data alone; None where there is more to it."""
    if isinstance(expression, Path):
        return _Lookup.of(expression)
    if isinstance(expression, _CONSTANTS):
        return expression
    made: Any = type(expression)
    if isinstance(expression, _UNARY):
        inner = expression.expression if isinstance(expression, BooleanExpression) else expression.right
        operand = _without_paths(inner)
        return None if operand is None else made(expression.token, operand)
    if isinstance(expression, _BINARY):
        left, right = _without_paths(expression.left), _without_paths(expression.right)
        return None if left is None or right is None else made(expression.token, left, right)
    return None


class _Lookup(Expression):
    """A path of names, as ("contact", "custom_fields", "city")."""

    __slots__ = ("_path",)

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        super().__init__(path.token)
        self._path = names

    @classmethod
    def of(cls, path: Path) -> "_Lookup | None":
        """None where it goes through values, numbers, or what is derived."""
        names = tuple(
            segment for segment in path.path if isinstance(segment, str) and segment not in _DERIVED
        )
        return cls(path, names) if len(names) == len(path.path) else None

    def evaluate(self, rendering: Any) -> object:
        """What is there, or the library's way to say that there is nothing."""
        found: Any = rendering.data
        try:
            for name in self._path:
                found = found[name]
        except (KeyError, TypeError, IndexError):
            return rendering.env.undefined(self._path[0], token=self.token)
        return found

    def children(self) -> list[Expression]:
        """None."""
        return []
