"""A workflow's document as a graph: its steps by id, and where each of them leads.

The document itself is the contract's message; docs/workflows.md describes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from flownurture.sending.v1 import workflows_pb2 as pb


@dataclass(frozen=True, slots=True)
class Way:
    """Where a step may lead: to the step of that id, or, where the id is empty, to the one below."""

    # Of the field that says so, within the step; empty where none does.
    path: str
    step_id: str


_BELOW = Way("", "")


def ways_of(step: pb.WorkflowStep) -> Sequence[Way]:
    """Every way out of a step; none out of an exit."""
    match step.WhichOneof("action"):
        case "go_to":
            return [Way("go_to.step_id", step.go_to.step_id)]
        case "exit":
            return []
        case "split":
            return [
                Way(f"split.ways[{index}].step_id", way.step_id) for index, way in enumerate(step.split.ways)
            ]
        case "branch":
            ways = enumerate(step.branch.ways)
            return [
                *(Way(f"branch.ways[{index}].step_id", way.step_id) for index, way in ways),
                Way("branch.otherwise", step.branch.otherwise),
            ]
        case "wait" if step.wait.event.otherwise:
            return [_BELOW, Way("wait.event.otherwise", step.wait.event.otherwise)]
        case _:
            return [_BELOW]


def named_ways(document: pb.WorkflowDocument) -> Iterator[tuple[str, Way]]:
    """The ways that name their step, with the path of the field that does."""
    for index, step in enumerate(document.steps):
        for way in ways_of(step):
            if way.step_id:
                yield f"steps[{index}].{way.path}", way


@dataclass(frozen=True, slots=True)
class Version:
    """A document that was found valid, as it is run. It does not change: an edited workflow is another version."""

    number: int
    document: pb.WorkflowDocument
    # By the step's id: where it stands in the document.
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {step.id: index for index, step in enumerate(self.document.steps)}
        object.__setattr__(self, "places", MappingProxyType(places))

    @property
    def first(self) -> str:
        """The step with which it begins."""
        return self.document.steps[0].id

    def step(self, step_id: str) -> pb.WorkflowStep:
        """The step of that id. Raises KeyError."""
        return self.document.steps[self.places[step_id]]

    def after(self, step_id: str, named: str = "") -> str:
        """The step that a way leads to: the one that it names, or the one below. Raises IndexError below the last."""
        return named or self.document.steps[self.places[step_id] + 1].id
