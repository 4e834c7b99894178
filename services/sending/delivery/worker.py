"""Hands the approved messages of batches over, chunk by chunk: claim, send, record what was answered."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from services.sending.batches import begin_batch, close_batch
from services.sending.delivery.claims import Claimed, claim, release
from services.sending.delivery.drafts import Draft, Drafts
from services.sending.delivery.leases import Lease
from services.sending.delivery.letters import Letters
from services.sending.delivery.outcomes import Outcomes, Result
from services.sending.delivery.replies import Verdict, judge, put_off
from services.sending.delivery.smtp.connection import Connection
from services.sending.delivery.smtp.envelope import Answer, Broken, Envelope
from services.sending.delivery.smtp.pool import ConnectionPool
from services.sending.statuses import MessageStatus

# Small: what a connection has claimed is in doubt when its process is killed.
_CHUNK = 10
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
    ) -> None:
        self._database = database
        self._lease = lease
        self._pool = pool
        self._drafts = drafts
        self._letters = letters
        self._outcomes = outcomes
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
        async with self._database.tenant_transaction(context) as session:
            approved = await begin_batch(session, batch_id)
        lanes = min(-(-approved // _CHUNK), _LANES_OF_A_BATCH)
        # No lane is cancelled for another's failure: it would leave its message in doubt.
        ended = await asyncio.gather(
            *(self._lane(context, batch_id) for _ in range(lanes)), return_exceptions=True
        )
        async with self._database.tenant_transaction(context) as session:
            await close_batch(session, batch_id)
        for failure in ended:
            if failure is not None:
                raise failure

    async def _lane(self, context: RequestContext, batch_id: UUID) -> None:
        while True:
            async with self._pool.connection() as connection:
                if not await self._hand_over_chunk(context, batch_id, connection):
                    return

    async def _hand_over_chunk(self, context: RequestContext, batch_id: UUID, connection: Connection) -> bool:
        token = self._lease.token
        if token is None or self._stopping:
            raise Unavailable("This process does not begin to send anything now.")
        await self._drafts.refresh()
        async with self._database.tenant_transaction(context) as session:
            chunk = await claim(session, batch_id, token, _CHUNK)
            drafts = await self._drafts.of(session, chunk.claimed)
        answered = await self._hand_over(context, connection, chunk.claimed, drafts)
        # Before the connection claims more: a kill leaves no more than one chunk of each in doubt.
        await self._outcomes.flushed()
        if not connection.usable and not answered:
            raise Unavailable("The mail relay takes connections and breaks them.")
        return not chunk.empty

    async def _hand_over(
        self,
        context: RequestContext,
        connection: Connection,
        claimed: Sequence[Claimed],
        drafts: Mapping[UUID, Draft],
    ) -> int:
        """Hand over what was claimed and give back what was not begun; answers how many messages were answered."""
        unbegun = deque(claimed)
        begun: dict[Envelope, Claimed] = {}
        answered = 0
        try:
            written = await self._letters.write(context, claimed, drafts)
            for message in claimed:
                if why := written.refusals.get(message.id):
                    unbegun.remove(message)
                    self._outcomes.record(context, Result(message, Verdict(MessageStatus.FAILED, why)))

            def next_envelope() -> Envelope | None:
                if not unbegun or not self._may_begin(unbegun[0]):
                    return None
                # Once it has left the queue it is not released, whatever happens to us meanwhile.
                message = unbegun.popleft()
                envelope = written.envelopes[message.id]
                begun[envelope] = message
                return envelope

            def settle(envelope: Envelope, answer: Answer) -> None:
                nonlocal answered
                answered += 1
                message = begun.pop(envelope)
                verdict = judge(answer.reply, to_recipient=answer.to_recipient, attempts=message.attempts)
                self._outcomes.record(context, Result(message, verdict))

            await connection.hand_over(next_envelope, settle)
        except Broken as broken:
            if broken.in_doubt is not None:
                message = begun.pop(broken.in_doubt)
                self._outcomes.record(context, Result(message, _in_doubt(message, str(broken))))
            if broken.not_begun is not None:
                unbegun.appendleft(begun.pop(broken.not_begun))
        finally:
            if unbegun:
                async with self._database.tenant_transaction(context) as session:
                    await release(session, unbegun)
        return answered

    def _may_begin(self, message: Claimed) -> bool:
        return not self._stopping and self._lease.covers(message.token)


def _in_doubt(message: Claimed, why: str) -> Verdict:
    detail = f"the connection broke before the reply: {why}"
    if message.campaign_id is None:
        return put_off(detail, attempts=message.attempts)
    return Verdict(MessageStatus.INDETERMINATE, detail)
