"""One-off messages that come at the same time are taken in together: one transaction for all of them.

The first of an organization goes at once. Those that come while its transaction runs wait for it to end and go in the next, together:
the longer a commit takes, the more share it. Nobody waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TypeAlias, cast
from uuid import UUID

from opentelemetry.trace import Span

from chassis import tracing
from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DomainError
from chassis.idempotency import KeyedRequest, fingerprint_of, recall, remember
from flownurture.sending.v1 import messages_pb2 as pb

# Their rows are written while the organization's count of e-mails is held.
_MOST_TOGETHER = 100
_METHOD = "flownurture.sending.v1.MessageService.CreateMessage"

_Answer: TypeAlias = "pb.CreateMessageResponse | DomainError"
# Takes requests in; answers, for each, the message or why there is none.
Accept: TypeAlias = Callable[[TenantSession, Sequence[pb.CreateMessageRequest]], Awaitable[Sequence[_Answer]]]


@dataclass(frozen=True, slots=True)
class _Call:
    request: pb.CreateMessageRequest
    context: RequestContext
    answer: "asyncio.Future[pb.CreateMessageResponse]"
    # What its logs and traces go by.
    variables: Context = field(default_factory=copy_context)
    span: Span = field(default_factory=tracing.here)


class Intake:
    """Takes in what comes, an organization's calls in their order."""

    def __init__(self, database: Database, accept: Accept) -> None:
        self._database = database
        self._accept = accept
        # Of organizations for which a transaction runs: who waits for the next.
        self._waiting: dict[UUID, deque[_Call]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def take(
        self, request: pb.CreateMessageRequest, context: RequestContext
    ) -> pb.CreateMessageResponse:
        """Answer once it has committed. Raises what `accept` answers, Conflict and InvalidRequest for an idempotency key."""
        call = _Call(request, context, asyncio.get_running_loop().create_future())
        waiting = self._waiting.get(context.organization)
        if waiting is None:
            self._waiting[context.organization] = deque()
            self._begin([call])
        else:
            waiting.append(call)
        return await call.answer

    def _begin(self, calls: Sequence[_Call]) -> None:
        task = asyncio.create_task(self._take_in(calls), context=calls[0].variables)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _take_in(self, calls: Sequence[_Call]) -> None:
        context = calls[-1].context
        tracing.join(call.span for call in calls)
        try:
            async with self._database.tenant_transaction(context) as session:
                answers: Sequence[_Answer | Exception] = await self._answers(session, calls)
        except Exception as failure:
            # Nothing of theirs was committed, or nobody knows: each hears of it as if it had been alone.
            answers = [failure] * len(calls)
        self._go_on(context.organization)
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.cancelled():
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)

    def _go_on(self, organization: UUID) -> None:
        waiting = self._waiting[organization]
        if waiting:
            self._begin([waiting.popleft() for _ in range(min(len(waiting), _MOST_TOGETHER))])
        else:
            del self._waiting[organization]

    async def _answers(self, session: TenantSession, calls: Sequence[_Call]) -> list[_Answer]:
        keyed = {place: request for place, call in enumerate(calls) if (request := _keyed(call)) is not None}
        recalled = dict(zip(keyed, await recall(session, list(keyed.values())), strict=True))
        answers = [cast("_Answer | None", recalled.get(place)) for place in range(len(calls))]
        new = [place for place, answer in enumerate(answers) if answer is None]
        accepted = await self._accept(session, [calls[place].request for place in new])
        made = dict(zip(new, accepted, strict=True))
        await remember(
            session,
            [
                (keyed[place], answer)
                for place, answer in made.items()
                if place in keyed and not isinstance(answer, DomainError)
            ],
        )
        return [made[place] if answer is None else answer for place, answer in enumerate(answers)]


def _keyed(call: _Call) -> KeyedRequest | None:
    if call.context.idempotency_key is None:
        return None
    return KeyedRequest.of(call.context, _METHOD, fingerprint_of(_METHOD, call.request))
