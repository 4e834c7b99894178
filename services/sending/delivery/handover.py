"""The messages of one track, handed over turn by turn: each as its lane lets it, noted when its body is said, recorded once answered."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from chassis import tracing
from chassis.context import RequestContext
from services.sending.delivery import figures
from services.sending.delivery.claims import Claimed
from services.sending.delivery.journal import Journal
from services.sending.delivery.lanes import OTHERS, Lane
from services.sending.delivery.outcomes import Outcomes, Result, in_doubt
from services.sending.delivery.pace import Ticket
from services.sending.delivery.relays import Relay
from services.sending.delivery.replies import Reply, judge
from services.sending.delivery.slowdowns import About, about
from services.sending.delivery.smtp.envelope import Answer, Broken, Envelope
from services.sending.delivery.smtp.pool import Turn


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A message in its envelope, and the lane that it takes."""

    message: Claimed
    envelope: Envelope
    lane: Lane


@dataclass(slots=True)
class _Begun:
    letter: Letter
    ticket: Ticket
    at: float
    note: int | None = None


class HandOver:
    """Some letters. `may_begin` is asked of each before; of whom it denies nothing is said."""

    def __init__(
        self,
        context: RequestContext,
        relay: Relay,
        letters: Iterable[Letter],
        *,
        journal: Journal,
        outcomes: Outcomes,
        may_begin: Callable[[RequestContext, Claimed], bool],
    ) -> None:
        # How many were handed over, whatever was answered.
        self.used = 0
        self._answered = 0
        self._context = context
        self._relay = relay
        self._left = deque(letters)
        self._journal = journal
        self._outcomes = outcomes
        self._may_begin = may_begin
        self._begun: dict[Envelope, _Begun] = {}
        self._turn: Turn

    @property
    def over(self) -> bool:
        """Whether there is nothing left that may be begun, now or later."""
        while self._left and not self._may_begin(self._context, self._left[0].message):
            self._left.popleft()
        return not self._left

    @property
    def wait(self) -> float:
        """In how many seconds one of what is left may begin."""
        now = monotonic()
        return min((letter.lane.pace.wait(now) for letter in self._left), default=0.0)

    async def by(self, turn: Turn) -> bool:
        """Hand over what may go now, as far as the turn goes; whether the relay answered anything."""
        before, self._turn = self._answered, turn
        try:
            await turn.connection.hand_over(self._next, self._settle, self._begin)
        except Broken as broken:
            self._take_back(broken)
            farewell = turn.connection.farewell
            if farewell is not None and about(farewell, OTHERS) is About.RELAY:
                self._relay.pool.overloaded()
        return self._answered > before

    def put_back(self) -> None:
        """Let what is left come again when its lanes are open."""
        now = monotonic()
        while not self.over:
            letter = self._left.popleft()
            self._outcomes.record(self._context, Result(letter.message, letter.lane.put_back(now)))

    def _next(self) -> Envelope | None:
        letter = self._next_letter()
        if letter is None or not self._turn.begins_another():
            return None
        self._left.remove(letter)
        now = monotonic()
        self._begun[letter.envelope] = _Begun(letter, letter.lane.pace.begin(now), now)
        return letter.envelope

    def _next_letter(self) -> Letter | None:
        now = monotonic()
        for letter in self._left:
            if not letter.lane.pace.wait(now) and self._may_begin(self._context, letter.message):
                return letter
        return None

    def _begin(self, envelope: Envelope) -> None:
        begun = self._begun[envelope]
        begun.note = self._journal.begin(begun.letter.message.id, begun.letter.message.token)

    def _settle(self, envelope: Envelope, answer: Answer) -> None:
        self.used += 1
        self._answered += 1
        begun = self._begun.pop(envelope)
        message, reply = begun.letter.message, answer.reply
        self._learn(begun, reply)
        _trace(self._relay, begun, reply)
        verdict = judge(reply, to_recipient=answer.to_recipient, attempts=message.attempts)
        if begun.note is not None:
            self._journal.answered(begun.note, verdict)
        self._outcomes.record(self._context, Result(message, verdict, begun.note))

    def _learn(self, begun: _Begun, reply: Reply) -> None:
        now, lane = monotonic(), begun.letter.lane
        told = lane.answered(begun.ticket, reply, now)
        figures.count(self._relay, lane, reply)
        if begun.note is not None:
            self._relay.pool.concurrency.answered(now - begun.at, now)
        if told is About.LANE:
            figures.note_slowdown(self._relay, lane, now)
        elif told is About.RELAY:
            self._relay.pool.overloaded()

    def _take_back(self, broken: Broken) -> None:
        if broken.in_doubt is not None:
            self.used += 1
            begun = self._begun.pop(broken.in_doubt)
            begun.letter.lane.pace.ended(begun.ticket)
            message = begun.letter.message
            verdict = in_doubt(message, f"the connection broke before the reply: {broken}")
            self._outcomes.record(self._context, Result(message, verdict, begun.note))
        if broken.not_begun is not None:
            begun = self._begun.pop(broken.not_begun)
            begun.letter.lane.pace.ended(begun.ticket)
            self._left.appendleft(begun.letter)


def _trace(relay: Relay, begun: _Begun, reply: Reply) -> None:
    """A span for a single message. Of mailings there are too many, and nobody looks for one of them: their batch has one."""
    message = begun.letter.message
    if message.mailing_id is None:
        attributes: tracing.Attributes = {
            "flownurture.message_id": str(message.id),
            "flownurture.relay": relay.name,
            "flownurture.provider": begun.letter.lane.label,
            "smtp.reply_code": reply.code,
        }
        tracing.note("SMTP", message.trace, seconds=monotonic() - begun.at, attributes=attributes)
