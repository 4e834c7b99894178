"""Calls between processes, over real sockets: who gets in, what a handler sees, and how errors come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest
import structlog
from google.api.httpbody_pb2 import HttpBody
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from chassis import logs, tracing
from chassis.context import ActorKind, RequestContext
from chassis.errors import (
    Conflict,
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    FieldViolation,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from chassis.rpc import deadline
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.stamp import STAMP_METADATA, StampVerifier
from chassis.tests.deadlines import until
from chassis.tests.wire import TRUSTED, Contacts, calling, member, serving, stamper
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1 import imports_pb2
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub
from flownurture.contacts.v1.imports_pb2_grpc import ImportServiceStub

ID = "01900000-0000-7000-8000-000000000000"
GET = pb.GetContactRequest(contact_id=ID)
GET_PATH = "/flownurture.contacts.v1.ContactService/GetContact"


class Imports:
    """An ImportService that counts the bytes of an upload."""

    service = imports_pb2.DESCRIPTOR.services_by_name["ImportService"]

    async def create_import(
        self, requests: AsyncIterator[imports_pb2.CreateImportRequest], context: RequestContext
    ) -> imports_pb2.Import:
        return imports_pb2.Import(size_bytes=sum([len(request.chunk) async for request in requests]))

    async def get_import(
        self, request: imports_pb2.GetImportRequest, context: RequestContext
    ) -> imports_pb2.Import:
        raise NotFound("import")

    async def list_imports(
        self, request: imports_pb2.ListImportsRequest, context: RequestContext
    ) -> imports_pb2.ListImportsResponse:
        raise NotFound("import")

    async def download_import_errors(
        self, request: imports_pb2.DownloadImportErrorsRequest, context: RequestContext
    ) -> AsyncIterator[HttpBody]:
        raise NotFound("import")
        yield


class Wire:
    """One server, and the gateway's connection to it."""

    def __init__(self, servicer: Contacts, server: RpcServer, peer: Peer) -> None:
        self.servicer = servicer
        self.server = server
        self.peer = peer
        self.contacts = ContactServiceStub(peer.channel)

    async def get(self, act: Callable[[Any, RequestContext], Awaitable[Any]], **call: Any) -> pb.Contact:
        """Have GetContact do something, and call it."""
        self.servicer.act = act
        context = call.pop("context", None) or member()
        return await self.peer.call(self.contacts.GetContact, GET, context, **call)


@pytest.fixture(scope="module")
async def wire() -> AsyncIterator[Wire]:
    servicer = Contacts()
    async with serving(servicer, Imports()) as server, calling(server) as peer:
        yield Wire(servicer, server, peer)


def raising(error: BaseException) -> Callable[[Any, RequestContext], Awaitable[Any]]:
    async def act(_: Any, __: RequestContext) -> None:
        raise error

    return act


async def test_a_handler_gets_the_request_and_the_verified_context(wire: Wire) -> None:
    seen = []

    async def act(request: pb.GetContactRequest, context: RequestContext) -> pb.Contact:
        seen.append(context)
        return pb.Contact(id=request.contact_id)

    caller = member(idempotency_key="key-1")
    assert (await wire.get(act, context=caller)).id == ID
    assert seen == [caller]


async def test_what_is_written_into_plain_metadata_is_not_believed(wire: Wire) -> None:
    seen = []

    async def act(_: Any, context: RequestContext) -> pb.Contact:
        seen.append(context)
        return pb.Contact()

    wire.servicer.act = act
    caller = member()
    await wire.contacts.GetContact(
        GET,
        metadata=(
            (STAMP_METADATA, stamper().stamp(caller, "contacts")),
            ("x-organization-id", ID),
            ("organization_id", ID),
            ("role", "SUPER_ADMIN"),
        ),
    )
    assert seen[0].organization_id == caller.organization_id
    assert seen[0].role == caller.role


@pytest.mark.parametrize(
    "error",
    [
        NotFound("contact"),
        Conflict("There is a contact with that address.", reason="ADDRESS_TAKEN"),
        InvalidRequest(FieldViolation("email", "must be ✓"), FieldViolation("list_ids[3]", "does not exist")),
        InvalidRequest(message="Another request.", reason="IDEMPOTENCY_MISMATCH"),
        FailedPrecondition("The address is suppressed.", reason="SUPPRESSED"),
        PermissionDenied("No.", reason="PLAN_LIMIT_EXCEEDED"),
        Unauthenticated("Wrong password."),
        RateLimited("Too fast.", retry_after=2.5),
        Unavailable("The database does not answer."),
        DeadlineExceeded(),
        InternalError(),
    ],
    ids=lambda error: f"{type(error).__name__}-{error.reason}",
)
async def test_an_error_crosses_intact(wire: Wire, error: DomainError) -> None:
    with pytest.raises(DomainError) as crossed:
        await wire.get(raising(error))
    assert type(crossed.value) is type(error)
    assert vars(crossed.value) == vars(error)


async def test_an_error_of_a_domain_crosses_as_its_kind_with_its_reason(wire: Wire) -> None:
    class ContactLimitReached(PermissionDenied):
        def __init__(self, limit: int, used: int) -> None:
            super().__init__(f"{used} of {limit} contacts are used.", reason="PLAN_LIMIT_EXCEEDED")

    with pytest.raises(PermissionDenied) as crossed:
        await wire.get(raising(ContactLimitReached(limit=500, used=500)))
    assert crossed.value.reason == "PLAN_LIMIT_EXCEEDED"
    assert crossed.value.message == "500 of 500 contacts are used."


async def test_a_great_many_violations_still_fit_into_the_answer(wire: Wire) -> None:
    found = [FieldViolation(f"rows[{row}].{'x' * 5000}", "is wrong " * 1000) for row in range(5000)]
    with pytest.raises(InvalidRequest) as crossed:
        await wire.get(raising(InvalidRequest(*found)))
    assert crossed.value.violations[0].field.startswith("rows[0].")


@pytest.fixture
def logged_as_by_a_process() -> Iterator[None]:
    """With whose request it was."""
    before = structlog.get_config()
    structlog.configure(processors=[logs._Origin("contacts"), *before["processors"]])
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("logged_as_by_a_process")
async def test_a_bug_shows_nothing_of_itself_but_in_the_log(
    wire: Wire, capfd: pytest.CaptureFixture[str]
) -> None:
    caller = member()
    wire.servicer.act = raising(RuntimeError("the innermost secret"))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await wire.contacts.GetContact(GET, metadata=wire.peer._metadata(caller))
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "innermost" not in repr(failure.value) + repr(failure.value.trailing_metadata())
    logged = capfd.readouterr()
    assert "RuntimeError: the innermost secret" in logged.out + logged.err
    assert caller.request_id in logged.out + logged.err


async def test_an_answer_of_the_wrong_type_is_a_bug_too(wire: Wire) -> None:
    async def act(_: Any, __: RequestContext) -> pb.ListContactsResponse:
        return pb.ListContactsResponse()

    with pytest.raises(InternalError):
        await wire.get(act)


@pytest.mark.parametrize(
    ("stamps", "code"),
    [
        (lambda: (), grpc.StatusCode.UNAUTHENTICATED),
        (lambda: (b"noise",), grpc.StatusCode.UNAUTHENTICATED),
        (lambda: (stamper().stamp(member(), "contacts"),), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["unstamped", "forged", "stamped"],
)
async def test_nothing_is_decoded_before_the_caller_is_known(
    wire: Wire, stamps: Callable[[], tuple[bytes, ...]], code: grpc.StatusCode
) -> None:
    call = wire.peer.channel.unary_unary(GET_PATH, bytes, bytes)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call(b"\xff\xff\xff", metadata=tuple((STAMP_METADATA, stamp) for stamp in stamps()))
    assert failure.value.code() is code


async def test_a_handler_is_not_reached_by_a_caller_without_access_or_a_request_out_of_bounds(
    wire: Wire,
) -> None:
    reached = []

    async def act(_: Any, context: RequestContext) -> pb.Contact:
        reached.append(context)
        return pb.Contact()

    with pytest.raises(Unauthenticated):
        await wire.get(act, context=RequestContext("gateway", ActorKind.ANONYMOUS))
    with pytest.raises(InvalidRequest) as refusal:
        await wire.peer.call(wire.contacts.GetContact, pb.GetContactRequest(contact_id="x"), member())
    assert [violation.field for violation in refusal.value.violations] == ["contact_id"]
    assert reached == []


async def test_a_process_that_is_no_named_caller_is_refused(wire: Wire) -> None:
    async with calling(wire.server, stamps=stamper("sending")) as peer:
        with pytest.raises(PermissionDenied) as refusal:
            await peer.call(ContactServiceStub(peer.channel).GetContact, GET, member(issuer="sending"))
    assert refusal.value.reason == "CALLER_NOT_ALLOWED"


async def test_an_idempotency_key_is_bounded(wire: Wire) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await wire.get(wire.servicer.answer_nothing, context=member(idempotency_key="x" * 256))
    assert refusal.value.violations[0].field == "Idempotency-Key"


async def test_a_handler_that_takes_too_long_is_cancelled_and_the_caller_told(wire: Wire) -> None:
    cancelled = asyncio.Event()

    async def act(_: Any, __: RequestContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(DeadlineExceeded):
        await wire.get(act, timeout=0.2)
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_handler_ends_when_its_caller_goes_away(wire: Wire) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def act(_: Any, __: RequestContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    call = asyncio.create_task(wire.get(act))
    await asyncio.wait_for(begun.wait(), 5)
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_each_hop_passes_on_less_time_than_it_was_given(wire: Wire) -> None:
    left = []

    async def inner(_: Any, __: RequestContext) -> pb.Contact:
        left.append(deadline.allowance())
        return pb.Contact()

    async def outer(_: Any, context: RequestContext) -> pb.Contact:
        left.append(deadline.allowance())
        return await wire.get(inner, context=context)

    await wire.get(outer, timeout=3)
    assert 3 > left[0] > left[1] > 2


async def test_a_call_without_a_deadline_gets_one(wire: Wire) -> None:
    left = []

    async def act(_: Any, __: RequestContext) -> pb.Contact:
        left.append(deadline.allowance(at_most=1000))
        return pb.Contact()

    wire.servicer.act = act
    await wire.contacts.GetContact(GET, metadata=wire.peer._metadata(member()))
    assert 9 < left[0] < deadline.DEFAULT


async def test_time_that_has_run_out_is_not_spent_on_another_call(wire: Wire) -> None:
    reached = []

    async def act(request: pb.GetContactRequest, _: RequestContext) -> pb.Contact:
        reached.append(request)
        return pb.Contact()

    async def expired() -> None:
        deadline.begin(0)
        await wire.get(act)

    with pytest.raises(DeadlineExceeded):
        await asyncio.create_task(expired())
    assert reached == []


async def test_calls_in_flight_are_shown_while_they_last(wire: Wire) -> None:
    def in_flight() -> float | None:
        return REGISTRY.get_sample_value("flownurture_rpcs_in_flight")

    seen = []

    async def act(_: Any, __: RequestContext) -> pb.Contact:
        seen.append(in_flight())
        raise NotFound("contact")

    with pytest.raises(NotFound):
        await wire.get(act)
    assert seen == [1]
    # The answer may be there before its call is over.
    await until(lambda: in_flight() == 0)


async def test_the_trace_goes_on_in_the_process_that_is_called(wire: Wire) -> None:
    seen = []

    async def act(_: Any, __: RequestContext) -> pb.Contact:
        seen.append(tracing.trace_id())
        return pb.Contact()

    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with tracing.span("test", parent=f"00-{trace_id}-00f067aa0ba902b7-01"):
        await wire.get(act)
    await wire.get(act)
    assert seen == [trace_id, ""]


def upload(*chunks: bytes) -> AsyncIterator[imports_pb2.CreateImportRequest]:
    async def requests() -> AsyncIterator[imports_pb2.CreateImportRequest]:
        yield imports_pb2.CreateImportRequest(options=imports_pb2.ImportOptions())
        for chunk in chunks:
            yield imports_pb2.CreateImportRequest(chunk=chunk)

    return requests()


async def test_a_stream_reaches_its_handler_message_by_message(wire: Wire) -> None:
    imports = ImportServiceStub(wire.peer.channel)
    uploaded = await wire.peer.call(imports.CreateImport, upload(b"a" * 1000, b"b" * 500), member())
    assert uploaded.size_bytes == 1500


async def test_every_message_of_a_stream_is_bounded(wire: Wire) -> None:
    imports = ImportServiceStub(wire.peer.channel)
    with pytest.raises(InvalidRequest) as refusal:
        await wire.peer.call(imports.CreateImport, upload(b"a", b"b" * 1_048_577), member())
    assert refusal.value.violations == (FieldViolation("chunk", "must be at most 1,048,576 bytes"),)


async def test_half_of_a_stream_is_never_taken_for_the_whole() -> None:
    class Recorded(Imports):
        async def create_import(
            self, requests: AsyncIterator[imports_pb2.CreateImportRequest], context: RequestContext
        ) -> imports_pb2.Import:
            try:
                async for _ in requests:
                    arrived.set()
                wholes.append(context)
                return imports_pb2.Import()
            finally:
                ended.set()

    async def half() -> AsyncIterator[imports_pb2.CreateImportRequest]:
        yield imports_pb2.CreateImportRequest(chunk=b"half")
        await arrived.wait()
        raise ConnectionAbortedError

    wholes: list[RequestContext] = []
    arrived, ended = asyncio.Event(), asyncio.Event()
    async with serving(Recorded()) as server, calling(server) as peer:
        stub = ImportServiceStub(peer.channel)
        for _ in range(20):
            arrived.clear()
            ended.clear()
            with pytest.raises(asyncio.CancelledError):
                await peer.call(stub.CreateImport, half(), member())
            await asyncio.wait_for(ended.wait(), 5)
    assert wholes == []


async def test_an_upload_is_bounded_as_a_whole(wire: Wire) -> None:
    imports = ImportServiceStub(wire.peer.channel)
    with pytest.raises(InvalidRequest) as refusal:
        await wire.peer.call(imports.CreateImport, upload(*[b"a" * 1_048_576] * 257), member())
    assert refusal.value.reason == "PAYLOAD_TOO_LARGE"


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    async with Peer("127.0.0.1:1", "contacts", stamper()) as peer:
        with pytest.raises(Unavailable):
            await peer.call(ContactServiceStub(peer.channel).GetContact, GET, member(), timeout=5)


async def test_calls_spread_over_all_that_answer_to_a_name() -> None:
    counted: dict[str, int] = {}

    def counting(name: str) -> Contacts:
        async def act(_: Any, __: RequestContext) -> pb.Contact:
            counted[name] = counted.get(name, 0) + 1
            return pb.Contact()

        servicer = Contacts()
        servicer.act = act
        return servicer

    async with serving(counting("a")) as a, serving(counting("b")) as b, serving(counting("c")) as c:
        target = "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in (a, b, c))
        async with Peer(target, "contacts", stamper()) as peer:
            get = ContactServiceStub(peer.channel).GetContact
            async with asyncio.timeout(10):
                while len(counted) < 3:
                    await peer.call(get, GET, member())
            counted.clear()
            for _ in range(60):
                await peer.call(get, GET, member())
    assert counted == {"a": 20, "b": 20, "c": 20}


async def test_a_process_that_comes_back_is_found_again() -> None:
    async with AsyncExitStack() as life:
        first = await life.enter_async_context(serving(Contacts()))
        async with calling(first) as peer:
            get = ContactServiceStub(peer.channel).GetContact
            await peer.call(get, GET, member())
            await life.aclose()
            with pytest.raises(Unavailable):
                await peer.call(get, GET, member())
            verifier = StampVerifier("contacts", TRUSTED)
            async with RpcServer("contacts", f"127.0.0.1:{first.port}", verifier).add(Contacts()):
                await asyncio.wait_for(peer.channel.channel_ready(), 10)
                await peer.call(get, GET, member())


async def test_a_call_fails_for_nothing_that_another_channel_met() -> None:
    async with serving(Contacts()) as gone:
        pass
    async with calling(gone) as earlier:
        with pytest.raises(Unavailable):
            await earlier.call(ContactServiceStub(earlier.channel).GetContact, GET, member())
        verifier = StampVerifier("contacts", TRUSTED)
        came = RpcServer("contacts", f"127.0.0.1:{gone.port}", verifier).add(Contacts())
        async with came, calling(gone) as newcomer:
            await newcomer.call(ContactServiceStub(newcomer.channel).GetContact, GET, member())


async def test_health_asks_for_no_stamp_and_tells_of_the_end_before_it_comes() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def act(_: Any, __: RequestContext) -> pb.Contact:
        begun.set()
        await finish.wait()
        return pb.Contact(id="finished")

    servicer = Contacts()
    servicer.act = act
    running = serving(servicer)
    server = await running.__aenter__()
    async with calling(server) as peer:
        health = health_pb2_grpc.HealthStub(peer.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        serving_now = health_pb2.HealthCheckResponse.SERVING
        assert (await watch.read()).status == serving_now
        named = health_pb2.HealthCheckRequest(service=Contacts.service.full_name)
        assert (await health.Check(named)).status == serving_now

        call = asyncio.create_task(peer.call(ContactServiceStub(peer.channel).GetContact, GET, member()))
        await asyncio.wait_for(begun.wait(), 5)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        finish.set()
        assert (await call).id == "finished"
        watch.cancel()
        await asyncio.wait_for(leaving, 10)
