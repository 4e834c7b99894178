"""Hands the approved messages of batches over: claim, write, send, record what was answered, give back."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from services.sending.delivery.claims import Claimed, claim
from services.sending.delivery.drafts import Draft, Drafts
from services.sending.delivery.handover import HandOver
from services.sending.delivery.journal import Journal
from services.sending.delivery.leases import Lease
from services.sending.delivery.letters import Letters
from services.sending.delivery.outcomes import Outcomes, Result
from services.sending.delivery.recalls import Recalls
from services.sending.delivery.replies import Verdict
from services.sending.delivery.smtp.pool import ConnectionPool
from services.sending.statuses import MessageStatus

# Written at once, and given to one connection; the others go on meanwhile.
_CHUNK = 20
_LANES_OF_A_BATCH = 4


class Worker:
    """Delivers batches, several at a time and each on a few connections."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        pool: ConnectionPool,
        *,
        drafts: Drafts,
        letters: Letters,
        outcomes: Outcomes,
        journal: Journal,
        recalls: Recalls,
    ) -> None:
        self._database = database
        self._lease = lease
        self._pool = pool
        self._drafts = drafts
        self._letters = letters
        self._outcomes = outcomes
        self._journal = journal
        self._recalls = recalls
        self._stopping = False

    async def run(self) -> None:
        """Run until cancelled; from then on nothing is begun any more."""
        try:
            await asyncio.Event().wait()
        finally:
            self._stopping = True

    async def deliver(self, context: RequestContext, batch_id: UUID) -> None:
        """Hand over all that is approved of a batch. Doing it again finds nothing left.

        Raises Unavailable when relay or database do not answer; what was not begun stays approved.
        """
        await self._drafts.refresh()
        with self._lease.in_hand(batch_id) as ours:
            token = self._lease.token
            if token is None or self._stopping:
                raise Unavailable("This process does not begin to send anything now.")
            if ours:
                await self._deliver(context, batch_id, token)

    async def _deliver(self, context: RequestContext, batch_id: UUID, token: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            claimed = await claim(session, batch_id, token)
            if claimed is None:
                return
            drafts = await self._drafts.of(session, claimed)
        try:
            with self._recalls.watching(context, claimed[0].campaign_id if claimed else None):
                await self._hand_over(context, claimed, drafts)
        finally:
            await self._outcomes.give_back(context, batch_id, token)

    async def _hand_over(
        self, context: RequestContext, claimed: Sequence[Claimed], drafts: Mapping[UUID, Draft]
    ) -> None:
        chunks = deque(claimed[begin : begin + _CHUNK] for begin in range(0, len(claimed), _CHUNK))
        lanes = min(len(chunks), _LANES_OF_A_BATCH)
        # No lane is cancelled for another's failure: it would leave its message in doubt.
        ended = await asyncio.gather(
            *(self._lane(context, chunks, drafts) for _ in range(lanes)), return_exceptions=True
        )
        for failure in ended:
            if failure is not None:
                raise failure

    async def _lane(
        self, context: RequestContext, chunks: deque[Sequence[Claimed]], drafts: Mapping[UUID, Draft]
    ) -> None:
        while chunks:
            letters = await self._written(context, chunks.popleft(), drafts)
            while not letters.over:
                async with self._pool.connection() as connection:
                    answered = await letters.by(connection)
                    broken = not connection.usable
                if broken and not answered:
                    raise Unavailable("The mail relay takes connections and breaks them.")

    async def _written(
        self, context: RequestContext, chunk: Sequence[Claimed], drafts: Mapping[UUID, Draft]
    ) -> HandOver:
        written = await self._letters.write(context, chunk, drafts)
        for message in chunk:
            if why := written.refusals.get(message.id):
                self._outcomes.record(context, Result(message, Verdict(MessageStatus.FAILED, why)))
        letters = (
            (message, written.envelopes[message.id]) for message in chunk if message.id in written.envelopes
        )
        return HandOver(context, letters, self._journal, self._outcomes, self._may_begin)

    def _may_begin(self, context: RequestContext, message: Claimed) -> bool:
        return (
            not self._stopping
            and self._lease.covers(message.token)
            and self._journal.has_room
            and not self._recalls.holds(context, message)
        )
