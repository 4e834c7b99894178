"""What was promised, what was found, and how to say the difference so that a person understands it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence of the promise, put to the test."""

    step: str
    promise: str
    expected: str
    actual: str

    @property
    def passed(self) -> bool:
        """Whether what was found is what was promised."""
        return self.expected == self.actual


@dataclass(slots=True)
class Ledger:
    """All checks of a run, in their order, with the time that each step took."""

    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    step: str = ""

    def expect(self, promise: str, *, expected: object, actual: object) -> None:
        """Note a check; expected and actual are compared as they are shown."""
        self.checks.append(Check(self.step, promise, str(expected), str(actual)))

    @property
    def passed(self) -> bool:
        """Whether everything that was promised was found."""
        return all(check.passed for check in self.checks)


def once_each(people: Iterable[str]) -> str:
    """What is expected when each of these people is to be met exactly once."""
    return census(people, people)


def census(expected: Iterable[str], found: Iterable[str]) -> str:
    """Whom of the expected we found, in words: so many once each, and who is missing, repeated or a stranger."""
    wanted = set(expected)
    times = Counter(found)
    once = sum(times[person] == 1 for person in wanted)
    words = [f"{once:,} {'person' if once == 1 else 'people'}, once each"]
    words += _some("missing", wanted - times.keys())
    words += _some("more than once", {person for person in wanted if times[person] > 1})
    words += _some("not expected", times.keys() - wanted)
    return "; ".join(words)


def tally(amounts: dict[str, int]) -> str:
    """Amounts in words, without those that are nothing: `974 sent, 26 vetoed`."""
    return ", ".join(f"{amount:,} {name}" for name, amount in amounts.items() if amount) or "none"


def all_alike(answers: Iterable[object]) -> str:
    """Answers in words, equal ones counted: `11 × 404 not-found`."""
    return ", ".join(f"{number} × {answer}" for answer, number in Counter(map(str, answers)).most_common())


def _some(what: str, people: Iterable[str]) -> list[str]:
    named = sorted(people)
    if not named:
        return []
    more = ", …" if len(named) > _SHOWN else ""
    return [f"{len(named):,} {what} ({', '.join(named[:_SHOWN])}{more})"]
