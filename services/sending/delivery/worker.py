"""Hands the approved messages of batches over: claim, write, send, record what was answered, give back."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from services.sending import message_figures
from services.sending.delivery.claims import Claimed, claim
from services.sending.delivery.drafts import Draft, Drafts
from services.sending.delivery.handover import HandOver, Letter
from services.sending.delivery.journal import Journal
from services.sending.delivery.leases import Lease
from services.sending.delivery.letters import Letters
from services.sending.delivery.outcomes import Outcomes, Result
from services.sending.delivery.recalls import Recalls
from services.sending.delivery.relays import Relay
from services.sending.delivery.replies import Verdict, put_back
from services.sending.delivery.routes import Routes, Share
from services.sending.delivery.smtp.pool import NoAnswer
from services.sending.delivery.turns import Claimant
from services.sending.statuses import MessageStatus

# Written at once, and given to one connection; the others go on meanwhile.
_CHUNK = 20
_HANDS_OF_A_BATCH = 4
# How long a batch is kept for messages whose lanes go slowly; then they come again by themselves.
_PATIENCE_SECONDS = 5.0
# How soon it is tried to open a message again whose key nobody has unwrapped.
_KEEPER_ASKED_AGAIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Chunk:
    track: str
    messages: Sequence[Claimed]

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for them."""
        return any(message.mailing_id is None for message in self.messages)


class Worker:
    """Delivers batches, several at a time and each on a few connections."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        routes: Routes,
        *,
        drafts: Drafts,
        letters: Letters,
        outcomes: Outcomes,
        journal: Journal,
        recalls: Recalls,
    ) -> None:
        self._database = database
        self._lease = lease
        self._routes = routes
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

    async def deliver(self, context: RequestContext, *batch_ids: UUID) -> None:
        """Hand over all that is approved of batches, of one campaign or of none. Doing it again finds nothing left.

        Raises Unavailable when the database or a keeper of keys does not answer, or a relay breaks every connection; NoAnswer when a relay takes none.
        What was not begun stays approved, and its batch says when to look again.
        """
        await self._drafts.refresh()
        with self._lease.in_hand(batch_ids) as ours:
            token = self._lease.token
            if token is None or self._stopping:
                raise Unavailable("This process does not begin to send anything now.")
            if ours:
                await self._deliver(context, ours, token)

    async def _deliver(self, context: RequestContext, batch_ids: Collection[UUID], token: UUID) -> None:
        async with self._database.tenant_transaction(context) as session:
            claimed = await claim(session, batch_ids, token)
            if not claimed.batch_ids:
                return
            route = await self._routes.of(session, claimed.messages)
            drafts = await self._drafts.of(session, route.messages)
        message_figures.count("claimed", {"taken": len(claimed.messages)} | claimed.vetoed)
        campaign_ids = {message.campaign_id for message in claimed.messages}
        wait = route.wait
        try:
            with self._recalls.watching(context, campaign_ids):
                await _all(self._hand_over(context, share, drafts) for share in route.shares)
        except NoAnswer as failure:
            wait = failure.wait
            raise
        finally:
            await self._outcomes.give_back(context, claimed.batch_ids, token, wait)

    async def _hand_over(self, context: RequestContext, share: Share, drafts: Mapping[UUID, Draft]) -> None:
        chunks = deque(_chunks(share))
        hands = min(len(chunks), _HANDS_OF_A_BATCH)
        patience = monotonic() + _PATIENCE_SECONDS
        try:
            await _all(self._hand(context, share, chunks, drafts, patience) for _ in range(hands))
        finally:
            await self._routes.give_back(context, share)

    async def _hand(
        self,
        context: RequestContext,
        share: Share,
        chunks: deque[_Chunk],
        drafts: Mapping[UUID, Draft],
        patience: float,
    ) -> None:
        while chunks:
            chunk = self._without_those_that_wait(context, share.relay, chunks.popleft(), drafts, patience)
            letters = await self._written(context, share.relay, chunk, drafts)
            try:
                await self._say(context, share.relay, chunk, letters, patience)
            finally:
                share.used += letters.used

    def _without_those_that_wait(
        self,
        context: RequestContext,
        relay: Relay,
        chunk: _Chunk,
        drafts: Mapping[UUID, Draft],
        patience: float,
    ) -> _Chunk:
        """Put back what cannot begin in time, before anything is written for it."""
        now, begin = monotonic(), []
        for message in chunk.messages:
            lane = relay.lanes.to(_domain(message))
            if why := drafts[message.id].waits_for:
                self._outcomes.record(context, Result(message, put_back(why, _KEEPER_ASKED_AGAIN)))
            elif (wait := lane.pace.wait(now)) and now + wait > patience:
                self._outcomes.record(context, Result(message, lane.put_back(now)))
            else:
                begin.append(message)
        return _Chunk(chunk.track, begin)

    async def _say(
        self, context: RequestContext, relay: Relay, chunk: _Chunk, letters: HandOver, patience: float
    ) -> None:
        claimant = Claimant(context.organization, urgent=chunk.urgent)
        while not letters.over:
            if wait := letters.wait:
                if monotonic() + wait > patience:
                    letters.put_back()
                    return
                await asyncio.sleep(wait)
                continue
            async with relay.pool.turn(claimant, chunk.track) as turn:
                answered = await letters.by(turn)
                broken = not turn.connection.usable
            if broken and not answered:
                raise Unavailable("The mail relay takes connections and breaks them.")

    async def _written(
        self, context: RequestContext, relay: Relay, chunk: _Chunk, drafts: Mapping[UUID, Draft]
    ) -> HandOver:
        written = await self._letters.write(context, chunk.messages, drafts, relay.carrier)
        for message in chunk.messages:
            if why := written.refusals.get(message.id):
                self._outcomes.record(context, Result(message, Verdict(MessageStatus.FAILED, why)))
        letters = (
            Letter(message, envelope, relay.lanes.to(_domain(message)))
            for message in chunk.messages
            if (envelope := written.envelopes.get(message.id)) is not None
        )
        return HandOver(
            context,
            relay,
            letters,
            journal=self._journal,
            outcomes=self._outcomes,
            may_begin=self._may_begin,
        )

    def _may_begin(self, context: RequestContext, message: Claimed) -> bool:
        return (
            not self._stopping
            and self._lease.covers(message.token)
            and self._journal.has_room
            and not self._recalls.holds(context, message)
        )


def _chunks(share: Share) -> Iterator[_Chunk]:
    """The messages of a share, track by track, in pieces that one connection is given."""
    tracks: dict[str, list[Claimed]] = {}
    for message in share.messages:
        tracks.setdefault(share.relay.lanes.to(_domain(message)).track, []).append(message)
    for track, messages in tracks.items():
        for begin in range(0, len(messages), _CHUNK):
            yield _Chunk(track, messages[begin : begin + _CHUNK])


def _domain(message: Claimed) -> str:
    return message.email.rpartition("@")[2]


async def _all(under_way: Iterable[Awaitable[None]]) -> None:
    """Do all of it. None is cancelled for another's failure, which would leave its message in doubt; the first is raised then."""
    for failure in await asyncio.gather(*under_way, return_exceptions=True):
        if failure is not None:
            raise failure
