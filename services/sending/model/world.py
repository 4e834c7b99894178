"""The world that the model speaks of: one batch, whom it is for, the processes that want to send it, and what can still go wrong.

Plain values: an action makes a new world and leaves the old one as it was. Named tuples, since the search compares millions of them.
"""

from typing import Literal, NamedTuple, Self, TypeAlias

from services.sending.model.design import COMMIT, HOLD_BATCH, LOCK_LIST

Status: TypeAlias = Literal["queued", "deferred", "sent", "vetoed", "indeterminate"]
OPEN = ("queued", "deferred")

# How far a process is with a message that it has claimed. What was said was taken by the relay, or was not; the process knows neither
# until it is answered. What is answered becomes an outcome of the row, and is behind it once that is written.
Hand: TypeAlias = Literal[
    "nothing", "waiting", "noted", "said, taken", "said, not taken", "sent", "put off", "in doubt", "written"
]
UNWRITTEN = ("sent", "put off", "in doubt")
# What the journal says of a message; "begun" is without an answer.
Note: TypeAlias = Literal["nothing", "begun", "sent", "put off"]


class Message(NamedTuple):
    """A row of `messages`. What follows the status no process knows: it is what happened."""

    status: Status = "queued"
    # How often the relay took it.
    handed_over: int = 0
    claimed_after_opt_out: bool = False
    begun_after_its_end: bool = False


class Batch(NamedTuple):
    """A row of `batches`. Token 0 is nobody's."""

    status: Literal["requested", "approved", "settled"] = "requested"
    token: int = 0


class Seen(NamedTuple):
    """What a statement sees: all that had committed when it began."""

    on_list: bool
    statuses: tuple[Status, ...]


class Delivery(NamedTuple):
    """A delivery process. Token 0: it does not run."""

    token: int
    # Whether the process itself holds its lease to be good.
    lease_good: bool = True
    # The steps of its claim that are done, and what it has seen in it.
    claim: tuple[str, ...] = ()
    seen: Seen | None = None
    # What it has claimed, and with which token.
    hand: tuple[Hand, ...] = ()
    hand_token: int = 0
    # Its journal: what was begun with its present token.
    notes: tuple[Note, ...] = ()

    @classmethod
    def started(cls, token: int, size: int) -> Self:
        """One that runs and has nothing yet of a batch of that size."""
        return cls(
            token, hand=tuple("nothing" for _ in range(size)), notes=tuple("nothing" for _ in range(size))
        )

    @property
    def in_hand(self) -> bool:
        """Whether it has a batch that it has not given back."""
        return self.hand_token > 0

    def with_hand(self, place: int, state: Hand) -> Self:
        """That far with the message at a place."""
        return self._replace(hand=(*self.hand[:place], state, *self.hand[place + 1 :]))

    def with_note(self, place: int, note: Note) -> Self:
        """With this in its journal, which is about what it claimed with its present token alone."""
        if self.token != self.hand_token:
            return self
        return self._replace(notes=(*self.notes[:place], note, *self.notes[place + 1 :]))

    def empty_handed(self) -> Self:
        """With nothing claimed, and nothing in its journal."""
        return self._replace(hand=_none_of(self.hand), hand_token=0, notes=_nothing_of(self.notes))

    def with_token(self, token: int) -> Self:
        """With a lease that it has just taken: what stands in the journal was begun with another, and says nothing any more."""
        return self._replace(token=token, lease_good=True, notes=_nothing_of(self.notes))

    def gone(self) -> Self:
        """Dead: its transactions are undone, and what it knew is lost."""
        return self.empty_handed()._replace(token=0, lease_good=False, claim=(), seen=None)


class Remains(NamedTuple):
    """The journal of a process that is dead."""

    token: int
    notes: tuple[Note, ...]


class Mishaps(NamedTuple):
    """How much may still go wrong, of each kind."""

    deaths: int = 0
    # Deaths that take the journal with them: the machine is lost.
    losses_of_machine: int = 0
    # A process that is held up until its lease runs out.
    stalls: int = 0
    # A commit that succeeds, and whose process never hears so.
    lost_answers: int = 0
    lost_events: int = 0
    broken_connections: int = 0
    # The relay puts a message off.
    deferrals: int = 0
    # The suppression process dies.
    suppression_deaths: int = 0

    def less(self, kind: str) -> Self | None:
        """What may go wrong after one more of a kind has; None when no more of it may."""
        left: int = getattr(self, kind)
        return self._replace(**{kind: left - 1}) if left else None


class World(NamedTuple):
    """Everything, at one moment."""

    messages: tuple[Message, ...]
    deliveries: tuple[Delivery, ...]
    mishaps: Mishaps
    batch: Batch = Batch()
    # The list, as committed: whether the address that opts out is on it.
    on_list: bool = False
    # The steps of the opt-out that are done.
    opt_out: tuple[str, ...] = ()
    # What the suppression process has seen for its decision, while it decides.
    deciding: Seen | None = None
    remains: frozenset[Remains] = frozenset()
    # Rows of `delivery_leases`: who was not declared dead.
    leases: frozenset[int] = frozenset()
    # Events that a stream still holds; whoever reads them reads them again and again.
    events: frozenset[str] = frozenset({"SendsRequested", "SendsApproved"})
    last_token: int = 0

    @property
    def is_being_added_to(self) -> bool:
        """Whether the list's lock is held exclusively."""
        return LOCK_LIST in self.opt_out and COMMIT not in self.opt_out

    @property
    def is_held_still(self) -> bool:
        """Whether the list's lock is held shared."""
        return any(LOCK_LIST in delivery.claim for delivery in self.deliveries)

    @property
    def batch_is_held(self) -> bool:
        """Whether the batch's row is locked."""
        return any(HOLD_BATCH in delivery.claim for delivery in self.deliveries)

    @property
    def seen(self) -> Seen:
        """What a statement sees that begins now."""
        return Seen(self.on_list, tuple(message.status for message in self.messages))

    def closed(self) -> Self:
        """The batch without a lease, and settled when nothing of it is open."""
        is_open = any(message.status in OPEN for message in self.messages)
        return self._replace(batch=Batch(self.batch.status if is_open else "settled"))

    def with_message(self, place: int, message: Message) -> Self:
        """With another row at a place."""
        return self._replace(messages=(*self.messages[:place], message, *self.messages[place + 1 :]))

    def with_delivery(self, number: int, delivery: Delivery) -> Self:
        """With one process as it is now."""
        deliveries = self.deliveries
        return self._replace(deliveries=(*deliveries[:number], delivery, *deliveries[number + 1 :]))

    def with_lease(self, number: int, delivery: Delivery) -> Self:
        """With a process that has taken a lease of its own."""
        token = self.last_token + 1
        taken = self._replace(leases=self.leases | {token}, last_token=token)
        return taken.with_delivery(number, delivery.with_token(token))


def _none_of(hand: tuple[Hand, ...]) -> tuple[Hand, ...]:
    return tuple("nothing" for _ in hand)


def _nothing_of(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    return tuple("nothing" for _ in notes)
