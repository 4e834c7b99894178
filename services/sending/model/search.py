"""The search: every world that can come about, the nearest first, so that a counterexample is as short as there is one."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.sending.model.actions import steps
from services.sending.model.case import Case
from services.sending.model.promises import NOTHING_IS_LOST, PROMISES, is_over
from services.sending.model.world import World


@dataclass(frozen=True, slots=True)
class Explored:
    """What a search found: how much there is, and what broke the first promise that was broken, if one was."""

    states: int
    steps: int
    broken: str | None = None
    trace: Sequence[str] = ()


class Search:
    """One search. Worlds are numbered as they are found."""

    def __init__(self, case: Case) -> None:
        self._case = case
        begin = case.begin()
        self._numbers = {begin: 0}
        # How each was come to first.
        self._reached: list[tuple[int, str]] = [(0, "")]
        # From where else each can be come to.
        self._before: list[list[int]] = [[]]
        self._over: list[int] = []
        self._steps = 0
        self._waiting = deque([begin])

    def run(self) -> Explored:
        """Look at all of it, or up to the first counterexample."""
        while self._waiting:
            world = self._waiting.popleft()
            number = self._numbers[world]
            if is_over(world):
                self._over.append(number)
            for promise, holds in PROMISES.items():
                if not holds(world, self._case.marketing):
                    return self._explored(promise, number)
            self._spread(world, number)
        stuck = next(self._lost(), None)
        return self._explored(None if stuck is None else NOTHING_IS_LOST, stuck or 0)

    def _spread(self, world: World, number: int) -> None:
        for action, after in steps(world, self._case):
            self._steps += 1
            known = self._numbers.setdefault(after, len(self._reached))
            if known == len(self._reached):
                self._reached.append((number, action))
                self._before.append([])
                self._waiting.append(after)
            self._before[known].append(number)

    def _lost(self) -> Iterator[int]:
        """The worlds from which none that is over can be reached, the nearest first."""
        saved = set(self._over)
        waiting = deque(self._over)
        while waiting:
            for earlier in self._before[waiting.popleft()]:
                if earlier not in saved:
                    saved.add(earlier)
                    waiting.append(earlier)
        return (number for number in range(len(self._reached)) if number not in saved)

    def _explored(self, broken: str | None, number: int) -> Explored:
        trace: list[str] = []
        while number:
            number, action = self._reached[number]
            trace.append(action)
        return Explored(len(self._reached), self._steps, broken, tuple(reversed(trace)))
