"""What is sent to some people while the site is hit at random points, and what the relay has of it."""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from random import Random

from chassis.tests.deadlines import until
from services.sending.tests.recording_relay import Note, Orders, Record
from services.sending.tests.site import Blow

# Longer than anything takes that does not hang.
PATIENCE_SECONDS = 300


class Mailing:
    """Nothing of it goes out until it is let flow. On a `broken_share` of all DATA the relay breaks the connection."""

    def __init__(self, record: Record, people: Collection[str], *, broken_share: float = 0.0) -> None:
        self.people = frozenset(people)
        self._record = record
        self._broken_share = broken_share
        self._before = record.read()
        self._let_through(0)

    def flow(self) -> None:
        """Let all of it through."""
        self._let_through(2 * len(self.people))

    async def flow_and_be_hit(self, blow: Blow, points: int, chance: Random) -> list[int]:
        """Let it flow, and the blow befall the site at so many random points; answers how much had been taken each time."""
        drawn = sorted(chance.sample(range(1, len(self.people) * 9 // 10), points))
        # Starting anew takes longer than many a message: the relay waits before the next point.
        ends = [*(point - 1 for point in drawn[1:]), len(self.people) * 19 // 20]
        hits = []
        for number, (point, end) in enumerate(zip(drawn, ends, strict=True)):
            self._let_through(end)
            await self.reaches(point)
            hits.append(self._taken())
            await blow(number)
        self.flow()
        return hits

    async def reaches(self, point: int) -> None:
        """Return once the relay has taken as much of it."""
        await until(partial(self._has_reached, point), PATIENCE_SECONDS)

    def copies(self) -> Counter[str]:
        """How often each of the people got it."""
        return Counter(note.recipient for note in self._notes())

    def message_ids(self) -> set[tuple[str, str]]:
        """Under which Message-IDs each of the people got it."""
        return {(note.recipient, note.message_id) for note in self._notes()}

    def cut(self) -> list[set[str]]:
        """Of each connection that was cut, who of them may have been on the wire."""
        self._record.read()
        return [on_it for connection in self._record.cut if (on_it := connection & self.people)]

    def _let_through(self, most: int) -> None:
        self._record.order(Orders(self._before + most, self._broken_share))

    def _taken(self) -> int:
        return self._record.read() - self._before

    def _has_reached(self, point: int) -> bool:
        return self._taken() >= point

    def _notes(self) -> Iterator[Note]:
        self._record.read()
        return (note for note in self._record.taken if note.recipient in self.people)
