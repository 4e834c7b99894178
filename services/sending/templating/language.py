"""The language of templates: Liquid (https://shopify.github.io/liquid/), as python-liquid reads it, without files and within bounds."""

from collections.abc import Iterable, Iterator
from typing import cast

from liquid import Environment, RenderContext
from liquid.ast import Node
from liquid.builtin import register
from liquid.builtin.expressions import LoopExpression
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.stream import TokenStream

from services.sending.templating.bounds import Context, bounded

# They read other templates, or are a second way to say the same.
_LEFT_OUT = ("include", "render", "tablerow", "liquid")


class Language(Environment):
    """What a template may say. `escaping`: values become HTML text, unless they go through the filter `safe`."""

    def __init__(self, *, escaping: bool) -> None:
        super().__init__(autoescape=escaping)

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register the standard tags and filters, each within its bounds."""
        register(self)
        for tag in _LEFT_OUT:
            del self.tags[tag]
        self.add_tag(_BoundedFor)
        self.filters = {name: bounded(name, function) for name, function in self.filters.items()}


def nodes_within(nodes: Iterable[Node], context: RenderContext) -> Iterator[Node]:
    """All nodes, parents before their children."""
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += list(node.children(context))[::-1]


class _BoundedLoop(LoopExpression):
    """A loop that says how long it is before anything is done."""

    __slots__ = ("_tags",)

    def __init__(self, loop: LoopExpression, tags: int) -> None:
        super().__init__(
            loop.token,
            loop.identifier,
            loop.iterable,
            limit=loop.limit,
            offset=loop.offset,
            reversed_=loop.reversed,
            cols=loop.cols,
        )
        self._tags = tags

    def _slice(
        self,
        it: Iterator[object],
        length: int,
        context: RenderContext,
        *,
        limit: int | None,
        offset: int | str | None,
    ) -> tuple[Iterator[object], int]:
        rounds = length if limit is None else min(length, max(limit, 0))
        # An offset is walked over, too.
        passed_over = min(length, offset) if isinstance(offset, int) else 0
        cast(Context, context).enter_loop(rounds + passed_over, self._tags)
        return super()._slice(it, length, context, limit=limit, offset=offset)


class _BoundedFor(ForTag):
    """The standard `for`, bounded."""

    def parse(self, stream: TokenStream) -> Node:
        """Parse it and count the tags that each of its rounds runs."""
        node = cast(ForNode, super().parse(stream))
        tags = sum(1 for _ in nodes_within([node.block], _NO_DATA))
        node.expression = _BoundedLoop(node.expression, tags)
        return node


_NO_DATA = RenderContext(Environment().from_string(""))

HTML = Language(escaping=True)
TEXT = Language(escaping=False)
