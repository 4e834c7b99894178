"""From a method and a path to the endpoint that answers, in time that does not grow with the number of endpoints."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from gateway.problems import MethodNotAllowed, RouteNotFound
from gateway.templates import Template

MOST_SEGMENTS = 16
LONGEST_SEGMENT = 1024


class Routable(Protocol):
    """What has a method and a path template."""

    @property
    def verb(self) -> str:
        """The HTTP method in capitals."""

    @property
    def template(self) -> Template:
        """The path."""


Target = TypeVar("Target", bound=Routable)


@dataclass(slots=True)
class _Node(Generic[Target]):
    """A place in the tree of path segments."""

    literals: dict[str, "_Node[Target]"] = field(default_factory=dict)
    variable: "_Node[Target] | None" = None
    # By method; with it what the path's variables are called.
    targets: dict[str, Target] = field(default_factory=dict)

    def child(self, segment: str | None) -> "_Node[Target]":
        if segment is not None:
            return self.literals.setdefault(segment, _Node())
        if self.variable is None:
            self.variable = _Node()
        return self.variable


class Router(Generic[Target]):
    """All routes. A literal segment wins over a variable, whatever the order they were added in."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._root: _Node[Target] = _Node()
        for target in targets:
            node = self._root
            for segment in target.template.segments:
                node = node.child(segment)
            if target.verb in node.targets:
                raise ValueError(f"two endpoints answer {target.verb} {target.template.text}")
            node.targets[target.verb] = target

    def match(self, verb: str, path: str) -> tuple[Target, dict[str, str]]:
        """The target and the values of its variables. Raises RouteNotFound or MethodNotAllowed."""
        segments = path.split("/")[1:]
        if len(segments) > MOST_SEGMENTS:
            raise RouteNotFound
        values: list[str] = []
        node = _walk(self._root, segments, 0, values)
        if node is None:
            raise RouteNotFound
        target = node.targets.get(verb)
        if target is None and verb == "HEAD":
            target = node.targets.get("GET")
        if target is None:
            raise MethodNotAllowed(_allowed(node.targets))
        return target, dict(zip(target.template.variables, values, strict=True))


def _walk(node: _Node[Target], segments: list[str], depth: int, values: list[str]) -> _Node[Target] | None:
    if depth == len(segments):
        return node if node.targets else None
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None and (found := _walk(literal, segments, depth + 1, values)) is not None:
        return found
    if node.variable is None or not 0 < len(segment) <= LONGEST_SEGMENT:
        return None
    values.append(segment)
    found = _walk(node.variable, segments, depth + 1, values)
    if found is None:
        values.pop()
    return found


def _allowed(verbs: Iterable[str]) -> list[str]:
    return sorted({*verbs, "HEAD"} if "GET" in verbs else verbs)
