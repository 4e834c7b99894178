"""Uploads: a file goes through piece by piece, within its bounds, whole or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from chassis.context import RequestContext
from chassis.errors import NotFound
from chassis.identifiers import new_id
from flownurture.contacts.v1 import imports_pb2
from gateway.tests.house import House

PATH = "/v1/contacts/imports"
LARGEST = 268_435_456


@dataclass
class Receiver:
    """What the import service got of one upload."""

    options: Any = None
    size: int = 0
    largest: int = 0
    whole: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, requests: AsyncIterator[Any], context: RequestContext) -> imports_pb2.Import:
        """Read the stream to its end."""
        try:
            async for request in requests:
                if request.HasField("options"):
                    assert self.options is None
                    self.options = request.options
                self.size += len(request.chunk)
                self.largest = max(self.largest, len(request.chunk))
                self.arrived.set()
            self.whole = True
            return imports_pb2.Import(id=str(new_id()), size_bytes=self.size)
        finally:
            self.ended.set()


@pytest.fixture
def receiver(house: House) -> Receiver:
    receiver = Receiver()
    house.services["ImportService"].answer("CreateImport", receiver.take)
    return receiver


async def _body(size: int, *, boundary: bytes = b"b", end: bool = True) -> AsyncIterator[bytes]:
    yield b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    piece = b"x" * 65_536
    while size > 0:
        yield piece[:size]
        size -= len(piece)
    if end:
        yield b"\r\n--" + boundary + b"--\r\n"


FORM = {"content-type": "multipart/form-data; boundary=b"}


async def test_a_file_reaches_the_service_in_pieces_after_its_options(
    house: House, receiver: Receiver
) -> None:
    key, _ = house.identity.api_key("contacts:write")
    list_id = str(new_id())
    response = await house.call(
        "POST",
        PATH,
        key,
        files=[
            ("options", (None, json.dumps({"list_id": list_id}), "application/json")),
            ("file", ("contacts.csv", b"email\n" * 500_000, "text/csv")),
        ],
    )
    assert response.status_code == 202
    assert response.json()["size_bytes"] == receiver.size == 3_000_000
    assert receiver.options.list_id == list_id
    assert receiver.largest <= 1_048_576


async def test_options_may_be_left_out(house: House, receiver: Receiver) -> None:
    key, _ = house.identity.api_key("contacts:write")
    response = await house.call("POST", PATH, key, files={"file": ("a.csv", b"email\na@example.com\n")})
    assert response.status_code == 202
    assert receiver.options.list_id == ""
    assert receiver.size == 20


async def test_a_chunked_body_of_the_largest_size_is_taken_and_one_more_byte_is_413(
    house: House, receiver: Receiver
) -> None:
    key, _ = house.identity.api_key("contacts:write")
    taken = await house.call("POST", PATH, key, content=_body(LARGEST), headers=FORM)
    assert taken.status_code == 202
    assert receiver.size == LARGEST
    receiver.options = None
    refused = await house.call("POST", PATH, key, content=_body(LARGEST + 1), headers=FORM)
    assert refused.status_code == 413
    assert refused.json()["type"].endswith("/payload-too-large")
    assert refused.headers["connection"] == "close"


async def test_a_gigabyte_is_refused_before_it_is_read(house: House, receiver: Receiver) -> None:
    key, _ = house.identity.api_key("contacts:write")
    host, _, port = house.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {2**30}\r\n\r\n".encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 413")
    writer.close()
    assert not receiver.ended.is_set()


async def test_an_endless_body_is_cut_off(house: House, receiver: Receiver) -> None:
    key, _ = house.identity.api_key("contacts:write")
    try:
        response = await house.call("POST", PATH, key, content=_body(2**30), headers=FORM)
        assert response.status_code == 413
    except httpx.NetworkError:
        pass  # the connection was closed while the client was still sending
    await asyncio.wait_for(receiver.ended.wait(), 10)
    assert not receiver.whole
    assert receiver.size <= LARGEST


async def test_a_client_that_hangs_up_leaves_no_whole_upload(house: House, receiver: Receiver) -> None:
    key, _ = house.identity.api_key("contacts:write")
    host, _, port = house.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000000\r\n\r\n".encode()
    )
    async for piece in _body(2_000_000, end=False):
        writer.write(piece)
    await writer.drain()
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    writer.close()
    await asyncio.wait_for(receiver.ended.wait(), 10)
    assert not receiver.whole


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("options", (None, "{}"))], "file"),
        ([("options", (None, "{")), ("file", ("a", b"x"))], "options"),
        ([("options", (None, '{"list_id": 1}')), ("file", ("a", b"x"))], "options.list_id"),
        ([("options", (None, '{"list_id": "x"}')), ("file", ("a", b"x"))], "options.list_id"),
        ([("options", (None, '{"other": 1}')), ("file", ("a", b"x"))], "options.other"),
        ([("options", (None, " " * 70_000)), ("file", ("a", b"x"))], "options"),
        ([("options", (None, "{}")), ("options", (None, "{}")), ("file", ("a", b"x"))], "options"),
        ([("other", (None, "{}")), ("file", ("a", b"x"))], "other"),
    ],
)
async def test_what_is_wrong_before_the_file_never_reaches_the_service(
    house: House, receiver: Receiver, parts: Any, field: str
) -> None:
    key, _ = house.identity.api_key("contacts:write")
    response = await house.call("POST", PATH, key, files=parts)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert not house.services["ImportService"].of(response.headers["x-request-id"])


async def test_a_part_after_the_file_makes_the_whole_upload_fail(house: House, receiver: Receiver) -> None:
    key, _ = house.identity.api_key("contacts:write")
    for late in ("options", "file"):
        receiver.ended.clear()
        receiver.whole, receiver.options = False, None
        response = await house.call(
            "POST", PATH, key, files=[("file", ("a", b"x" * 600_000)), (late, (None, "{}"))]
        )
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == late
        await asyncio.wait_for(receiver.ended.wait(), 10)
        assert not receiver.whole


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"--b\r\n\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx"]
)
async def test_a_body_that_is_no_form_is_422(house: House, receiver: Receiver, body: bytes) -> None:
    key, _ = house.identity.api_key("contacts:write")
    response = await house.call("POST", PATH, key, content=body, headers=FORM)
    assert response.status_code == 422


async def test_another_media_type_is_415(house: House) -> None:
    key, _ = house.identity.api_key("contacts:write")
    for media_type in ("text/csv", "multipart/form-data", "application/json"):
        response = await house.call("POST", PATH, key, content=b"email", headers={"content-type": media_type})
        assert response.status_code == 415


async def test_what_the_service_refuses_in_mid_upload_is_told(house: House) -> None:
    async def refuse(requests: Any, context: RequestContext) -> Any:
        async for _ in requests:
            raise NotFound("list")

    house.services["ImportService"].answer("CreateImport", refuse)
    key, _ = house.identity.api_key("contacts:write")
    try:
        response = await house.call("POST", PATH, key, content=_body(30_000_000), headers=FORM)
        assert response.status_code == 404
    except httpx.WriteError:
        pass  # the answer came while the client was still sending
