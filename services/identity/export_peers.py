"""All services that keep rows of organizations, this one first, asked for those of one."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from chassis.context import RequestContext
from chassis.export import Export
from chassis.export_service import pieces
from chassis.rpc.client import Peer
from flownurture.operations.v1.exports_pb2 import RowsPiece, StreamRowsRequest
from flownurture.operations.v1.exports_pb2_grpc import ExportServiceStub

# As long as the gateway lets a file take.
_MOST_SECONDS = 3600.0


class ExportPeers:
    """What they hold of an organization, one service after another."""

    def __init__(self, own: Export, peers: Mapping[str, Peer]) -> None:
        self._own = own
        self._peers = peers

    async def pieces(self, context: RequestContext) -> AsyncGenerator[tuple[str, RowsPiece], None]:
        """Each piece with its service. Raises Unavailable when one of them does not answer, and DeadlineExceeded."""
        async for piece in pieces(self._own, context):
            yield self._own.service, piece
        asking = RequestContext.of_process("identity", context.organization, request_id=context.request_id)
        for service, peer in sorted(self._peers.items()):
            stub = ExportServiceStub(peer.channel)
            answer = peer.stream(stub.StreamRows, StreamRowsRequest(), asking, _MOST_SECONDS)
            async with aclosing(answer):
                async for piece in answer:
                    yield service, piece
