"""What is wrong with an object, and what to do about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from deploy.k8s.check.objects import Object
from deploy.k8s.check.trees import Tree


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: where, what, and the remedy within the sentence."""

    tree: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.tree}: {self.where}: {self.problem}"


# Looks at a tree for one kind of mistake, and tells of each: the object that has it, and a sentence.
Told: TypeAlias = Iterator[tuple[Object | str, str]]
Rule: TypeAlias = Callable[[Tree], Told]


def findings(tree: Tree, *rules: Rule) -> Iterator[Finding]:
    """What the rules find in a tree."""
    for rule in rules:
        for where, problem in rule(tree):
            yield Finding(tree.name, str(where), problem)
