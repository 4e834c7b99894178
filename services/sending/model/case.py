"""What a search is about: a design, a batch, and how much may go wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

from services.sending.model.design import Design
from services.sending.model.world import OPEN, Delivery, Message, Mishaps, Seen, Status, World

# What happens, and the world after it.
Steps: TypeAlias = Iterator[tuple[str, World]]


@dataclass(frozen=True, slots=True)
class Case:
    """Whether each of the messages is marketing, and to the one recipient who opts out, stands at its place."""

    design: Design = field(default_factory=Design)
    marketing: tuple[bool, ...] = (True,)
    to_leaver: tuple[bool, ...] = (True,)
    deliveries: int = 2
    mishaps: Mishaps = field(default_factory=Mishaps)

    def with_mishaps(self, **mishaps: int) -> Self:
        """The same, and so much may go wrong."""
        return replace(self, mishaps=Mishaps(**mishaps))

    def begin(self) -> World:
        """All processes run; the batch was released."""
        tokens = range(1, self.deliveries + 1)
        return World(
            tuple(Message() for _ in self.marketing),
            tuple(Delivery.started(token, len(self.marketing)) for token in tokens),
            self.mishaps,
            leases=frozenset(tokens),
            last_token=self.deliveries,
        )

    def without_suppressed(self, messages: tuple[Message, ...], seen: Seen) -> tuple[Message, ...]:
        """The rows once those are vetoed that were seen to be open and for a suppressed address."""
        if not seen.on_list:
            return messages
        return tuple(
            message._replace(status="vetoed") if to_leaver and status in OPEN else message
            for message, status, to_leaver in zip(messages, seen.statuses, self.to_leaver, strict=True)
        )

    def outcome(self, place: int, what: str) -> Status:
        """The status that follows: "in doubt" is repeated, unless it is marketing."""
        if what == "sent":
            return "sent"
        repeats = not (self.marketing[place] and self.design.marketing_is_not_repeated)
        return "deferred" if what == "put off" or repeats else "indeterminate"
