"""The processes that read events, asked about those that they gave up."""

import asyncio
from collections.abc import Mapping, Sequence
from operator import attrgetter
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import DomainError
from chassis.logs import logger
from chassis.rpc.client import Peer
from flownurture.operations.v1.dead_letters_pb2 import DeadLetter, ListParkedRequest, RequestReplayRequest
from flownurture.operations.v1.dead_letters_pb2_grpc import DeadLetterServiceStub

_TIMEOUT = 2.0  # seconds


class DeadLetterPeers:
    """All of them, by name."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers

    @property
    def processes(self) -> list[str]:
        """The names of those that can be asked."""
        return sorted(self._peers)

    async def parked(
        self, processes: Sequence[str], *, after: UUID | None, size: int, context: RequestContext
    ) -> tuple[list[DeadLetter], list[str]]:
        """At most `size` of the oldest parked events of these processes, and which processes did not answer.

        Their ids are in the order of time in all processes (UUIDv7), so that one id is the place in all of them.
        """
        asked = ListParkedRequest(page_size=size, after_id=str(after) if after else "")
        answers = await asyncio.gather(*(self._parked(process, asked, context) for process in processes))
        letters = sorted((letter for answer in answers for letter in answer or ()), key=attrgetter("id"))
        unreachable = [process for process, answer in zip(processes, answers, strict=True) if answer is None]
        return letters[:size], unreachable

    async def request_replay(self, process: str, ids: Sequence[str], context: RequestContext) -> int:
        """Have a process handle these events again, or all if there are none; answers how many.

        Raises Unavailable when it does not answer.
        """
        peer = self._peers[process]
        answer = await peer.call(
            DeadLetterServiceStub(peer.channel).RequestReplay,
            RequestReplayRequest(dead_letter_ids=ids),
            _by_itself(context),
            _TIMEOUT,
        )
        return int(answer.requested)

    async def _parked(
        self, process: str, request: ListParkedRequest, context: RequestContext
    ) -> Sequence[DeadLetter] | None:
        peer = self._peers[process]
        stub = DeadLetterServiceStub(peer.channel)
        try:
            answer = await peer.call(stub.ListParked, request, _by_itself(context), _TIMEOUT)
        except DomainError as error:
            # What an operator looks for when much is broken must not break with it.
            logger().warning("dead_letters_unreachable", process=process, reason=error.reason)
            return None
        return list(answer.dead_letters)


def _by_itself(context: RequestContext) -> RequestContext:
    return RequestContext.of_process("identity", None, request_id=context.request_id)
