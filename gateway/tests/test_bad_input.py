"""Whatever a client sends, the answer is a problem document and never a 500."""

import asyncio
import re
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.identifiers import new_id
from gateway.endpoints import public_endpoints
from gateway.tests.house import House
from gateway.tests.messages import JSON

ENDPOINTS = public_endpoints()
SEGMENT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
ODD_TEXT = st.text(max_size=40) | st.sampled_from(
    ["\x00", "%00", "..", "%2e%2e", "'; DROP TABLE contacts", "\u202e"]
)


SCOPES = {endpoint.access.scope for endpoint in ENDPOINTS if endpoint.access.scope}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_request_to_any_endpoint_ends_in_a_500(house: House, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(ENDPOINTS))
    path = endpoint.template.text
    for variable in endpoint.template.variables:
        value = data.draw(SEGMENT | st.just(str(new_id())))
        path = path.replace(f"{{{variable}}}", quote(value), 1)
    query = data.draw(st.dictionaries(ODD_TEXT, ODD_TEXT, max_size=3))
    body = data.draw(st.binary(max_size=50) | JSON.map(_dumped))
    headers = data.draw(
        st.dictionaries(
            st.sampled_from(["content-type", "idempotency-key", "traceparent", "x-request-id"]),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
        )
    )
    key, _ = house.identity.api_key(*SCOPES)
    response = await house.call(endpoint.verb, path, key, params=query, content=body, headers=headers)
    assert response.status_code < 500
    if response.status_code >= 400:
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["request_id"] == response.headers["x-request-id"]


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return repr(value).encode()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/contacts?%zz=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_answered_4xx_or_cut_off(house: House, head: bytes) -> None:
    host, _, port = house.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
    except OSError:
        answer = b""
    finally:
        writer.close()
    assert not answer or answer.startswith(b"HTTP/1.1 4")


async def test_a_body_over_the_limit_is_413_whether_its_length_is_told_or_not(house: House) -> None:
    async def endless() -> Any:
        for _ in range(6):
            yield b" " * 1_000_000

    key, _ = house.identity.api_key("contacts:write")
    for content in (b" " * 6_000_000, endless()):
        response = await house.call("POST", "/v1/contacts", key, content=content)
        assert response.status_code == 413
        assert response.json()["type"].endswith("/payload-too-large")


async def test_an_over_long_string_is_told_by_its_field(house: House) -> None:
    key, _ = house.identity.api_key("contacts:write")
    body = {"email": "ada@example.com", "first_name": "x" * 3_000_000}
    response = await house.call("POST", "/v1/contacts", key, json=body)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "first_name", "message": "must be at most 200 characters"}]


async def test_the_largest_campaign_is_taken_or_refused_as_too_large(house: House) -> None:
    key, _ = house.identity.api_key("campaigns:write")
    campaign = {
        "name": "n",
        "subject": "s",
        "from_email": "a@example.com",
        "audience": {"list_ids": [str(new_id())]},
    }
    taken = await house.call("POST", "/v1/campaigns", key, json=campaign | {"html": "x" * 1_000_000})
    assert taken.status_code == 201
    wide = {"html": "\U0001f600" * 1_000_000, "text": "\U0001f600" * 1_000_000}
    refused = await house.call("POST", "/v1/campaigns", key, json=campaign | wide)
    assert refused.status_code == 413


async def test_a_long_address_is_414(house: House) -> None:
    response = await house.call("GET", "/v1/contacts?email=" + "a" * 20_000)
    assert response.status_code == 414


async def test_a_slash_in_an_id_leads_nowhere(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    assert (await house.call("GET", "/v1/contacts/a%2Fb", key)).status_code == 404
    assert (await house.call("GET", "/v1/contacts/..%2F..%2Fhealthz", key)).status_code == 404


async def test_a_body_that_never_comes_is_not_waited_for_forever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.exchange._BODY_SECONDS", 0.1)
    host, _, port = house.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 408")


async def test_a_client_whose_body_comes_after_its_refusal_is_not_cut_off(house: House) -> None:
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"POST /v1/contacts HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    # By the time that this is answered, so could the other have been: nobody has signed in.
    await house.client.get("/healthz")
    writer.write(b"{}")
    for request, status in (
        (b"", b"401 Unauthorized"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
    ):
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 " + status)
        (length,) = re.findall(rb"content-length: (\d+)", head.lower())
        await reader.readexactly(int(length))
    writer.close()
