"""An endpoint that takes one request and makes one call: the way of nearly every request."""

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.message_factory import GetMessageClass

from chassis.contract.json_encoding import encoder
from chassis.rpc.client import Peer
from gateway.answers import Answer, empty_answer, json_answer, raw_answer, redirect_answer
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.gate import Gate
from gateway.transcoding.request import RequestReader

WriteAnswer = Callable[[Any], Answer]


class CallRoute:
    """Answers one endpoint by one unary call."""

    def __init__(self, endpoint: Endpoint, gate: Gate, peer: Peer) -> None:
        self.verb, self.template = endpoint.verb, endpoint.template
        self._access = endpoint.access
        self._gate = gate
        self._peer = peer
        self._reader = RequestReader(endpoint)
        self._method = peer.channel.unary_unary(
            endpoint.rpc_path,
            request_serializer=GetMessageClass(endpoint.rpc.input_type).SerializeToString,
            response_deserializer=GetMessageClass(endpoint.rpc.output_type).FromString,
        )
        self._write = answer_writer(endpoint)

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """Let the request in, read it, call, write the answer."""
        context = await self._gate.pass_through(exchange, self._access)
        body = await exchange.body(self._reader.largest_body)
        request = self._reader.read(variables, exchange.scope.query_string, body, exchange.header)
        return self._write(await self._peer.call(self._method, request, context))


def answer_writer(endpoint: Endpoint) -> WriteAnswer:
    """What turns an endpoint's response message into an answer."""
    status = endpoint.success_status
    if endpoint.answer_is_raw:
        return lambda body: raw_answer(body.data, body.content_type, status)
    if endpoint.answer_is_redirect:
        return lambda redirect: redirect_answer(redirect.location, status)
    if status == 204:
        return lambda _: empty_answer(status)
    encode = encoder(endpoint.rpc.output_type)
    return lambda message: json_answer(orjson.dumps(encode(message)), status)
