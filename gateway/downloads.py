"""An endpoint that answers with a file: a stream of messages in, chunked HTTP out, nothing held whole."""

from collections.abc import AsyncGenerator
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message_factory import GetMessageClass

from chassis.rpc.client import Peer
from gateway.answers import Answer, file_answer
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.gate import Gate
from gateway.transcoding.request import RequestReader

MOST_SECONDS = 3600.0  # as long as a large file on a slow line may take


class DownloadRoute:
    """Answers one endpoint by one server-streaming call."""

    def __init__(self, endpoint: Endpoint, gate: Gate, peer: Peer) -> None:
        self.verb, self.template = endpoint.verb, endpoint.template
        self._name = endpoint.download
        self._access = endpoint.access
        self._gate = gate
        self._peer = peer
        self._reader = RequestReader(endpoint)
        self._method: Any = peer.channel.unary_stream(
            endpoint.rpc_path,
            request_serializer=GetMessageClass(endpoint.rpc.input_type).SerializeToString,
            response_deserializer=HttpBody.FromString,
        )

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """Let the request in, call, and answer as soon as the first message tells that there is a file."""
        context = await self._gate.pass_through(exchange, self._access)
        request = self._reader.read(variables, exchange.scope.query_string, b"", exchange.header)
        stream = self._peer.stream(self._method, request, context, MOST_SECONDS)
        first: HttpBody = await anext(stream, HttpBody())
        return file_answer(self._name, first.content_type, _pieces(first, stream))


async def _pieces(first: HttpBody, stream: AsyncGenerator[HttpBody, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield first.data
        async for message in stream:
            yield message.data
    finally:
        await stream.aclose()
