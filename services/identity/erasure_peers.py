"""The services that keep rows of organizations, asked how far they are with erasing one."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.context import RequestContext
from chassis.errors import DomainError
from chassis.logs import logger
from chassis.rpc.client import Peer
from flownurture.operations.v1.erasures_pb2 import GetErasureRequest
from flownurture.operations.v1.erasures_pb2_grpc import ErasureServiceStub

_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """What one service says: whether it answers, and when nothing was left."""

    service: str
    reachable: bool
    erased_at: Timestamp | None


class ErasurePeers:
    """All of them, by name."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers

    async def progress(self, context: RequestContext) -> list[Progress]:
        """What each says of the context's organization; one that does not answer is among them."""
        return await asyncio.gather(*(self._ask(service, context) for service in sorted(self._peers)))

    async def _ask(self, service: str, context: RequestContext) -> Progress:
        peer = self._peers[service]
        asking = RequestContext.of_process("identity", context.organization, request_id=context.request_id)
        try:
            answer = await peer.call(
                ErasureServiceStub(peer.channel).GetErasure, GetErasureRequest(), asking, _TIMEOUT
            )
        except DomainError as error:
            logger().warning("erasure_unknown", service=service, reason=error.reason)
            return Progress(service, reachable=False, erased_at=None)
        return Progress(
            service, reachable=True, erased_at=answer.erased_at if answer.HasField("erased_at") else None
        )
