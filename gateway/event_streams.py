"""An endpoint that is answered bit by bit: server-sent events for who takes them, and the last of them alone for who does not."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.contract.json_encoding import encoder
from chassis.errors import DomainError, InternalError
from chassis.logs import logger
from chassis.rpc.client import Peer
from gateway.answers import Answer, event_answer, json_answer
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.gate import Gate
from gateway.problems import problem_of
from gateway.transcoding.request import RequestReader

MOST_SECONDS = 180.0  # for all of it
_EVENTS = "text/event-stream"


class EventRoute:
    """Answers one endpoint by one server-streaming call."""

    def __init__(self, endpoint: Endpoint, gate: Gate, peer: Peer) -> None:
        self.verb, self.template = endpoint.verb, endpoint.template
        self._access = endpoint.access
        self._result = endpoint.result
        self._status = endpoint.success_status
        self._gate = gate
        self._peer = peer
        self._reader = RequestReader(endpoint)
        self._choice: str = endpoint.rpc.output_type.oneofs[0].name
        self._method: Any = peer.channel.unary_stream(
            endpoint.rpc_path,
            request_serializer=GetMessageClass(endpoint.rpc.input_type).SerializeToString,
            response_deserializer=GetMessageClass(endpoint.rpc.output_type).FromString,
        )

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """Let the request in, call, and answer: as soon as there is something to tell, or when all is there."""
        context = await self._gate.pass_through(exchange, self._access)
        body = await exchange.body(self._reader.largest_body)
        request = self._reader.read(variables, exchange.scope.query_string, body, exchange.header)
        stream = self._peer.stream(self._method, request, context, MOST_SECONDS)
        if not takes_events(exchange.header("accept") or ""):
            return await self._whole(stream)
        first = await anext(stream, None)
        if first is None:
            raise InternalError
        return event_answer(self._events(first, stream, exchange.request_id))

    async def _whole(self, stream: AsyncGenerator[Message, None]) -> Answer:
        last = None
        # To its end: what goes wrong there does so before anybody was answered.
        async with aclosing(stream):
            async for message in stream:
                last = message
        if last is None or last.WhichOneof(self._choice) != self._result:
            raise InternalError
        return json_answer(_json_of(getattr(last, self._result)), self._status)

    async def _events(
        self, first: Message, stream: AsyncGenerator[Message, None], request_id: str
    ) -> AsyncGenerator[bytes, None]:
        """What happens, as it happens. What goes wrong is an event, too: the status was told before."""
        async with aclosing(stream):
            try:
                yield self._event(first)
                async for message in stream:
                    yield self._event(message)
            except DomainError as error:
                logger().warning("events_broke_off", request_id=request_id, because=str(error))
                yield _written("problem", problem_of(error, request_id).body)

    def _event(self, message: Message) -> bytes:
        name = message.WhichOneof(self._choice) or ""
        return _written(name, _json_of(getattr(message, name)))


def takes_events(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 §12.5.1) asks for server-sent events by name."""
    return any(
        kind.strip().lower() == _EVENTS and "q=0" not in (part.strip() for part in parameters)
        for kind, *parameters in (each.split(";") for each in accept.split(","))
    )


def _json_of(message: Message) -> bytes:
    return orjson.dumps(encoder(message.DESCRIPTOR)(message))


def _written(name: str, data: bytes) -> bytes:
    # JSON of orjson's is one line.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
