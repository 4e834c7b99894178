"""What modules import, and which distribution of this environment brings it."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from deploy.images.tests.recipe import ROOT
from locks.pins import pins


@cache
def imports(path: Path) -> frozenset[tuple[str, bool]]:
    """The modules that a file imports, or names in modules, and whether that is when it is imported itself."""
    tree = ast.parse((ROOT / path).read_bytes())
    return frozenset(_found(tree, at_once=True))


def _found(node: ast.AST, *, at_once: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", at_once) for alias in child.names)
        else:
            is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(child)
            yield from _found(child, at_once=at_once and not is_later)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def provided(lock: str) -> frozenset[str]:
    """The modules that the distributions of a lock have, as far as they are for this machine."""
    pinned = pins((ROOT / "locks" / f"{lock}.txt").read_text())
    return frozenset(module for pin in pinned for module in _modules(pin.name))


@cache
def _modules(name: str) -> frozenset[str]:
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return frozenset()
    return frozenset(
        ".".join((*file.parts[:-1], file.name.partition(".")[0])).removesuffix(".__init__")
        for file in files
        if file.suffix in (".py", ".so")
    )
