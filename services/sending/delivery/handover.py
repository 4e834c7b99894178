"""The messages that a connection is given: each is noted when its body is said, and recorded once it is answered."""

from collections import deque
from collections.abc import Callable, Iterable

from chassis.context import RequestContext
from services.sending.delivery.claims import Claimed
from services.sending.delivery.journal import Journal
from services.sending.delivery.outcomes import Outcomes, Result, in_doubt
from services.sending.delivery.replies import judge
from services.sending.delivery.smtp.connection import Connection
from services.sending.delivery.smtp.envelope import Answer, Broken, Envelope


class HandOver:
    """Some messages in their envelopes. `may_begin` is asked of each before; of whom it denies nothing is said."""

    def __init__(
        self,
        context: RequestContext,
        letters: Iterable[tuple[Claimed, Envelope]],
        journal: Journal,
        outcomes: Outcomes,
        may_begin: Callable[[RequestContext, Claimed], bool],
    ) -> None:
        self._context = context
        self._left = deque(letters)
        self._journal = journal
        self._outcomes = outcomes
        self._may_begin = may_begin
        self._offered: dict[Envelope, Claimed] = {}
        self._notes: dict[Envelope, int] = {}
        self._answered = 0

    @property
    def over(self) -> bool:
        """Whether there is nothing left that may be begun."""
        while self._left and not self._may_begin(self._context, self._left[0][0]):
            self._left.popleft()
        return not self._left

    async def by(self, connection: Connection) -> bool:
        """Hand over what is left, as far as the connection holds; whether it answered anything."""
        before = self._answered
        try:
            await connection.hand_over(self._next, self._settle, self._begin)
        except Broken as broken:
            self._take_back(broken)
        return self._answered > before

    def _next(self) -> Envelope | None:
        if self.over:
            return None
        message, envelope = self._left.popleft()
        self._offered[envelope] = message
        return envelope

    def _begin(self, envelope: Envelope) -> None:
        message = self._offered[envelope]
        self._notes[envelope] = self._journal.begin(message.id, message.token)

    def _settle(self, envelope: Envelope, answer: Answer) -> None:
        self._answered += 1
        message, note = self._offered.pop(envelope), self._notes.pop(envelope, None)
        verdict = judge(answer.reply, to_recipient=answer.to_recipient, attempts=message.attempts)
        if note is not None:
            self._journal.answered(note, verdict)
        self._outcomes.record(self._context, Result(message, verdict, note))

    def _take_back(self, broken: Broken) -> None:
        if broken.in_doubt is not None:
            message, note = self._offered.pop(broken.in_doubt), self._notes.pop(broken.in_doubt)
            verdict = in_doubt(message, f"the connection broke before the reply: {broken}")
            self._outcomes.record(self._context, Result(message, verdict, note))
        if broken.not_begun is not None:
            self._left.appendleft((self._offered.pop(broken.not_begun), broken.not_begun))
