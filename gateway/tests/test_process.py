"""The gateway as a process: it starts by its environment, drains when it is told to stop, and says what is wrong."""

import asyncio
import signal
from typing import Any

from google.protobuf.message import Message

from chassis import tracing
from chassis.context import RequestContext
from chassis.tests.deadlines import until
from deploy.local.servers.program import free_address
from flownurture.contacts.v1 import contacts_pb2
from gateway.tests.house import House
from gateway.tests.processes import environment, gateway_process, ready


async def test_a_request_under_way_is_answered_while_the_process_stops(house: House) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: RequestContext) -> Message:
        arrived.set()
        await release.wait()
        return contacts_pb2.ListContactsResponse(next_page_token="late")

    service = house.services["ContactService"]
    key, _ = house.identity.api_key("contacts:read")
    listen = free_address()
    async with gateway_process(environment(house, LISTEN=listen)) as process:
        await ready(f"http://{listen}")
        service.answer("ListContacts", slow)
        request = asyncio.create_task(house.call("GET", f"http://{listen}/v1/contacts", key))
        await asyncio.wait_for(arrived.wait(), 10)
        process.send_signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.5, release.set)
        assert (await request).json()["next_page_token"] == "late"
        assert await asyncio.wait_for(process.wait(), 20) == 0
    service.answer("ListContacts", _nothing)


async def test_clients_that_keep_their_connections_lose_no_request_when_the_process_stops(
    house: House,
) -> None:
    listen, asked = free_address(), [0]

    async def ask_until_told_to_leave() -> None:
        host, _, port = listen.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        left = False
        while not left:
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(len(b'{"status":"ok"}'))
            asked[0] += 1
            left = b"\r\nconnection: close\r\n" in head
        assert await reader.read() == b""
        writer.close()

    async with gateway_process(environment(house, LISTEN=listen)) as process:
        await ready(f"http://{listen}")
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(ask_until_told_to_leave())
            await until(lambda: asked[0] > 500)
            process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def _nothing(request: Any, context: RequestContext) -> Message:
    return contacts_pb2.ListContactsResponse()


async def test_a_port_that_is_taken_is_named(house: House) -> None:
    async with gateway_process(environment(house)) as process:
        _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert f"gateway cannot listen on {house.settings['listen']}" in error.decode()


async def test_a_missing_setting_is_named(house: House) -> None:
    async with gateway_process(environment(house, REDIS_URL="")) as process:
        _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert "REDIS_URL is not set" in error.decode()


async def test_requests_are_counted_by_route_and_status(house: House) -> None:
    listen, metrics = free_address(), free_address()
    key, _ = house.identity.api_key("contacts:read")
    async with gateway_process(environment(house, LISTEN=listen, METRICS_LISTEN=metrics)) as process:
        await ready(f"http://{listen}")
        await house.call("GET", f"http://{listen}/v1/contacts", key)
        await house.call("GET", f"http://{listen}/v1/contacts")
        counted = (await house.call("GET", f"http://{metrics}/metrics")).text
        assert process.returncode is None
    for status in (200, 401):
        assert f'flownurture_http_seconds_count{{route="GET /v1/contacts",status="{status}"}} 1.0' in counted
    assert 'flownurture_gateway_admissions_total{counted="yes",source="identity"} 1.0' in counted


async def test_a_trace_goes_on_behind_the_gateway(house: House) -> None:
    traces: list[str] = []

    async def remember(request: Any, context: RequestContext) -> Message:
        traces.append(tracing.trace_id())
        return contacts_pb2.ListContactsResponse()

    service = house.services["ContactService"]
    service.answer("ListContacts", remember)
    key, _ = house.identity.api_key("contacts:read")
    trace = "0af7651916cd43dd8448eb211c80319c"
    for traceparent in (f"00-{trace}-b7ad6b7169203331-01", "nonsense"):
        await house.call("GET", "/v1/contacts", key, headers={"traceparent": traceparent})
    service.answer("ListContacts", _nothing)
    assert traces == [trace, ""]
