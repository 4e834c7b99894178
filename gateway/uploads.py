"""An endpoint that takes a file: multipart/form-data (RFC 7578) in, a stream of messages out, nothing held whole.

The stream's first message carries the options, every later one a piece of the file. The call begins when the file
does, so what is wrong before that never reaches the service; what goes wrong later cancels the call.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from chassis.contract.bounds import rule_of
from chassis.contract.json_decoding import decoder, shown
from chassis.errors import FieldViolation, InvalidRequest
from chassis.rpc.client import Peer
from gateway.answers import Answer
from gateway.calls import answer_writer
from gateway.endpoints import ContractError, Endpoint
from gateway.exchange import Exchange
from gateway.gate import Gate
from gateway.problems import HttpRefusal, PayloadTooLarge
from gateway.transcoding.request import check, parse_object

MOST_SECONDS = 600.0  # as long as a slow line may take
LARGEST_OPTIONS = 64 * 1024
_PIECE = 256 * 1024  # bytes of a file that travel in one message
_AROUND = LARGEST_OPTIONS + 16 * 1024  # bytes of a body that are not the file

Events = AsyncGenerator[MultipartSegment | bytes | bytearray | None, None]


class UploadRoute:
    """Answers one endpoint by one client-streaming call."""

    def __init__(self, endpoint: Endpoint, gate: Gate, peer: Peer) -> None:
        self.verb, self.template = endpoint.verb, endpoint.template
        self._access = endpoint.access
        self._gate = gate
        self._peer = peer
        self._form = UploadForm(endpoint.rpc.input_type)
        self._method = peer.channel.stream_unary(
            endpoint.rpc_path,
            request_serializer=self._form.new.SerializeToString,
            response_deserializer=GetMessageClass(endpoint.rpc.output_type).FromString,
        )
        self._write = answer_writer(endpoint)

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """Let the request in, pass the file on piece by piece, write the answer."""
        context = await self._gate.pass_through(exchange, self._access)
        upload = Upload(self._form, exchange)
        first = await upload.begin()
        try:
            response = await self._peer.call(self._method, upload.messages(first), context, MOST_SECONDS)
        except asyncio.CancelledError:
            if upload.failure is None:
                raise
            raise upload.failure from None
        return self._write(response)


class UploadForm:
    """What an upload's request type says of its parts: a message of options, and chunks of bytes."""

    def __init__(self, message: Descriptor) -> None:
        self.new: type[Message] = GetMessageClass(message)
        chunks = [field for field in message.fields if field.type == FieldDescriptor.TYPE_BYTES]
        options = [field for field in message.fields if field.message_type is not None]
        if len(chunks) != 1 or len(options) != 1 or not rule_of(chunks[0]).max_bytes:
            raise ContractError(f"{message.full_name} is not one message of options or one bounded chunk")
        self.chunk, self.options = chunks[0].name, options[0].name
        self.largest_file = rule_of(chunks[0]).max_bytes
        self.piece = min(_PIECE, rule_of(chunks[0]).max_length or _PIECE)

    def options_message(self, text: bytes) -> Message:
        """The first message of a stream; raises InvalidRequest for options that are not as they must be."""
        message = self.new()
        options = getattr(message, self.options)
        options.SetInParent()
        found: list[FieldViolation] = []
        if text:
            value = parse_object(text, self.options)
            decoder(options.DESCRIPTOR)(options, value, f"{self.options}.", found)
        check(message, found)
        return message


class Upload:
    """One body on its way through."""

    def __init__(self, form: UploadForm, exchange: Exchange) -> None:
        self._form = form
        self._events = self._parse(exchange)
        # Why the stream was not whole; gRPC only tells that the call was cancelled.
        self.failure: Exception | None = None

    async def begin(self) -> Message:
        """Read what stands before the file: the first message. Raises InvalidRequest when no file follows."""
        options = b""
        async for event in self._events:
            if not isinstance(event, MultipartSegment):
                continue
            if event.name == "file":
                return self._form.options_message(options)
            if event.name != "options":
                raise _wrong(event.name, "is not a known part")
            if options:
                raise _wrong("options", "may be given only once")
            options = await self._options()
        raise _wrong("file", "must be given")

    async def messages(self, first: Message) -> AsyncIterator[Message]:
        """The first message, then the file. What is wrong on the way is kept as `failure`."""
        yield first
        try:
            async for piece in self._pieces():
                yield self._form.new(**{self._form.chunk: piece})
            await self._end()
        except Exception as error:
            self.failure = error
            raise

    async def _pieces(self) -> AsyncIterator[bytes]:
        gathered = bytearray()
        size = 0
        async for data in self._part():
            size += len(data)
            if size > self._form.largest_file:
                raise PayloadTooLarge(self._form.largest_file)
            gathered += data
            while len(gathered) >= self._form.piece:
                yield bytes(gathered[: self._form.piece])
                del gathered[: self._form.piece]
        if gathered:
            yield bytes(gathered)

    async def _options(self) -> bytes:
        text = bytearray()
        async for data in self._part():
            text += data
            if len(text) > LARGEST_OPTIONS:
                raise _wrong("options", f"must be at most {LARGEST_OPTIONS:,} bytes")
        return bytes(text)

    async def _part(self) -> AsyncIterator[bytes | bytearray]:
        """The content of the part that has just begun."""
        async for event in self._events:
            if event is None:
                return
            yield event

    async def _end(self) -> None:
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                late = event.name == "options"
                raise _wrong(event.name, "must come before the file" if late else "is one part too many")

    async def _parse(self, exchange: Exchange) -> Events:
        media_type, parameters = parse_options_header(exchange.header("content-type") or "")
        if media_type != "multipart/form-data" or not parameters.get("boundary"):
            raise HttpRefusal(
                415, "UNSUPPORTED_MEDIA_TYPE", "This takes multipart/form-data with a boundary."
            )
        try:
            with PushMultipartParser(parameters["boundary"], strict=True) as parser:
                async for data in exchange.chunks(self._form.largest_file + _AROUND):
                    for event in parser.parse(data):
                        yield event
        except MultipartError as error:
            raise _wrong("body", f"is not multipart/form-data: {error}") from None


def _wrong(part: Any, problem: str) -> InvalidRequest:
    return InvalidRequest(FieldViolation(shown(str(part)), problem))
