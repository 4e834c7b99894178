"""Who gets a connection next, among those that wait: in turn by organization, single messages before campaigns.

A campaign of millions waits in its organization's place like a campaign of ten. Single messages go first, and yet every fourth
turn is a campaign's, so that neither keeps the other out.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Waiter = TypeVar("Waiter")

_URGENT_ON_END = 3


@dataclass(frozen=True, slots=True)
class Claimant:
    """On whose behalf a connection is wanted."""

    organization: UUID
    # For single messages, which somebody waits for.
    urgent: bool


class Turns(Generic[Waiter]):
    """Those that wait, in the order in which they are served."""

    def __init__(self) -> None:
        self._urgent: _Line[Waiter] = _Line()
        self._others: _Line[Waiter] = _Line()
        self._urgent_on_end = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    @property
    def urgent(self) -> int:
        """How many of them have single messages."""
        return len(self._urgent)

    def join(self, claimant: Claimant, waiter: Waiter) -> None:
        """Wait from now on."""
        self._line(claimant).join(claimant.organization, waiter)

    def leave(self, claimant: Claimant, waiter: Waiter) -> None:
        """Wait no longer; whoever does not wait leaves nothing."""
        self._line(claimant).leave(claimant.organization, waiter)

    def next(self, may: Callable[[Waiter], bool]) -> Waiter | None:
        """Whose turn it is, of those who may; None when nobody may."""
        first, second = self._urgent, self._others
        if self._urgent_on_end >= _URGENT_ON_END:
            first, second = second, first
        for line in (first, second):
            waiter = line.next(may)
            if waiter is not None:
                self._urgent_on_end = self._urgent_on_end + 1 if line is self._urgent else 0
                return waiter
        return None

    def _line(self, claimant: Claimant) -> "_Line[Waiter]":
        return self._urgent if claimant.urgent else self._others


class _Line(Generic[Waiter]):
    """One line of organizations; who has been served goes to its end."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[UUID, deque[Waiter]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, organization: UUID, waiter: Waiter) -> None:
        self._waiting.setdefault(organization, deque()).append(waiter)
        self._length += 1

    def leave(self, organization: UUID, waiter: Waiter) -> None:
        theirs = self._waiting.get(organization, ())
        if waiter in theirs:
            self._take(organization, waiter)

    def next(self, may: Callable[[Waiter], bool]) -> Waiter | None:
        for organization, theirs in self._waiting.items():
            for waiter in theirs:
                if may(waiter):
                    self._waiting.move_to_end(organization)
                    self._take(organization, waiter)
                    return waiter
        return None

    def _take(self, organization: UUID, waiter: Waiter) -> None:
        theirs = self._waiting[organization]
        theirs.remove(waiter)
        self._length -= 1
        if not theirs:
            del self._waiting[organization]
