"""An answer in many messages: it comes in order, no faster than it is read, whole or with an error, and to nobody else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chassis.context import RequestContext
from chassis.errors import DomainError, InternalError, InvalidRequest, NotFound, PermissionDenied
from chassis.rpc.client import Peer
from chassis.rpc.methods import Servicer
from chassis.tests.deadlines import until
from chassis.tests.wire import calling, member, serving, stamper
from flownurture.contacts.v1 import audience_pb2 as pb
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub

REQUEST = pb.StreamRecipientsRequest(include=pb.Selection(), batch_size=1)


class Audience:
    """An AudienceService that streams what a test tells it to."""

    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    def __init__(self, produce: Callable[[], AsyncIterator[Any]]) -> None:
        self._produce = produce
        self.context: RequestContext | None = None

    async def stream_recipients(
        self, request: pb.StreamRecipientsRequest, context: RequestContext
    ) -> AsyncIterator[pb.RecipientBatch]:
        self.context = context
        produced = self._produce()
        try:
            async for message in produced:
                yield message
        finally:
            await produced.aclose()  # type: ignore[attr-defined]


def batch(number: int, size: int = 1) -> pb.RecipientBatch:
    return pb.RecipientBatch(emails=[f"{number}".rjust(size)])


async def received(peer: Peer, request: pb.StreamRecipientsRequest = REQUEST) -> list[str]:
    method = AudienceServiceStub(peer.channel).StreamRecipients
    return [message.emails[0] async for message in peer.stream(method, request, member())]


async def test_a_stream_arrives_whole_and_in_order() -> None:
    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        for number in range(1_000):
            yield batch(number)

    async with serving(Audience(produce)) as server, calling(server, stamps=stamper("sending")) as peer:
        assert await received(peer) == [str(number) for number in range(1_000)]


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(
    ("raised", "expected"), [(NotFound("list as x"), NotFound), (ValueError("secret"), InternalError)]
)
async def test_an_error_ends_a_stream_as_it_was_raised(
    before: int, raised: Exception, expected: type[DomainError]
) -> None:
    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        for number in range(before):
            yield batch(number)
        raise raised

    async with serving(Audience(produce)) as server, calling(server, stamps=stamper("sending")) as peer:
        stream = peer.stream(AudienceServiceStub(peer.channel).StreamRecipients, REQUEST, member())
        for number in range(before):
            assert await anext(stream) == batch(number)
        with pytest.raises(expected) as refusal:
            await anext(stream)
    assert "secret" not in refusal.value.message


async def test_who_may_not_call_gets_no_message() -> None:
    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        raise AssertionError
        yield

    async with serving(Audience(produce)) as server:
        async with calling(server) as gateway:
            with pytest.raises(PermissionDenied):
                await received(gateway)
        async with calling(server, stamps=stamper("sending")) as peer:
            with pytest.raises(InvalidRequest):
                await received(peer, pb.StreamRecipientsRequest(include=pb.Selection(), batch_size=5001))


async def test_a_slow_reader_slows_who_writes() -> None:
    written = 0

    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        nonlocal written
        for number in range(1_000):
            written += 1
            yield batch(number, size=100_000)

    async with serving(Audience(produce)) as server, calling(server, stamps=stamper("sending")) as peer:
        method = AudienceServiceStub(peer.channel).StreamRecipients
        stream = peer.stream(method, REQUEST, member())
        await anext(stream)
        # Whatever windows there are between the two fill up, and then nothing moves.
        await until(lambda: written > 1)
        for _ in range(100):
            await anext(stream)
        assert written < 300
        await stream.aclose()


async def test_a_reader_that_leaves_ends_what_is_written() -> None:
    ended = asyncio.Event()

    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        try:
            for number in range(1_000_000):
                yield batch(number)
        finally:
            ended.set()

    async with serving(Audience(produce)) as server, calling(server, stamps=stamper("sending")) as peer:
        method = AudienceServiceStub(peer.channel).StreamRecipients
        stream = peer.stream(method, REQUEST, member())
        await anext(stream)
        await stream.aclose()
        await until(ended.is_set)


async def test_a_stream_knows_on_whose_behalf_it_is() -> None:
    async def produce() -> AsyncIterator[pb.RecipientBatch]:
        yield batch(1)

    audience = Audience(produce)
    async with serving(audience) as server, calling(server, stamps=stamper("sending")) as peer:
        context = member()
        method = AudienceServiceStub(peer.channel).StreamRecipients
        assert [message async for message in peer.stream(method, REQUEST, context)]
    assert audience.context is not None
    assert audience.context.organization_id == context.organization_id
    assert audience.context.issuer == "sending"


class NoGenerator:
    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    async def stream_recipients(self, request: Any, context: Any) -> pb.RecipientBatch:
        raise AssertionError


class WithSession:
    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    async def stream_recipients(self, request: Any, context: Any, session: Any) -> AsyncIterator[Any]:
        raise AssertionError
        yield


@pytest.mark.parametrize("servicer", [NoGenerator(), WithSession()])
async def test_a_stream_is_an_async_generator_without_a_transaction_or_is_not_served(
    servicer: Servicer,
) -> None:
    with pytest.raises(SystemExit, match=r"StreamRecipients: .* must be an async generator"):
        async with serving(servicer):
            pass
