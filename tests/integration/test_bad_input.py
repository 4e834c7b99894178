"""Whatever is sent, the answer is a clear problem, never a 500, and nothing is half done."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chassis.contract.bounds import rule_of
from chassis.identifiers import new_id
from tests.integration.house import House
from tests.integration.operations import BODIES, ENDPOINTS, QUERIES, operation
from tests.integration.tenants import (
    Tenant,
    authorization,
    import_contacts,
    problem,
    sign_up,
    subscribe,
)

ADA = {"email": "ada@example.test"}
# To POST /v1/contacts: the body, and the field that is told.
BAD_CONTACTS: dict[str, tuple[Any, str]] = {
    "malformed": (b'{"email": ', "body"),
    "no object": (b"[]", "body"),
    "not UTF-8": (b'{"email": "\xff"}', "body"),
    "half a surrogate pair": (b'{"email": "ada@example.test", "first_name": "\\ud800"}', "body"),
    "nested without end": (b"[" * 100_000, "body"),
    "a field that is not known": (ADA | {"nickname": "A"}, "nickname"),
    "an organization": (ADA | {"organization_id": str(new_id())}, "organization_id"),
    "a number for a string": ({"email": 7}, "email"),
    "a string for a list": (ADA | {"list_ids": "x"}, "list_ids"),
    "a number in a list": (ADA | {"list_ids": [1]}, "list_ids[0]"),
    "an id that is none": (ADA | {"list_ids": ["x"]}, "list_ids[0]"),
    "too many": (ADA | {"list_ids": [str(new_id()) for _ in range(101)]}, "list_ids"),
    "too long": (ADA | {"first_name": "x" * 201}, "first_name"),
    "a NUL character": (ADA | {"first_name": "a\x00b"}, "first_name"),
    "an address that is none": ({"email": "ada"}, "email"),
    "a required field missing": ({"first_name": "Ada"}, "email"),
}
NASTY: list[object] = [
    None,
    True,
    -1,
    2**64,
    1.5,
    "",
    "\x00",
    "'; DROP TABLE contacts; --",
    "x" * 5_000,
    "\u202e\ufffe",
    [],
    [[]],
    {"a": {}},
    [None, "\x00", 7],
]
WITH_BODY = [name for name in BODIES if ENDPOINTS[name].body and not ENDPOINTS[name].is_upload]
WITH_QUERY = [name for name in BODIES if ENDPOINTS[name].query_fields]
OVER_THE_LIMIT = 268_435_456 + 65_536


@pytest.fixture
async def tenant(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


@pytest.fixture(scope="module")
async def refused(house: House) -> AsyncIterator[Tenant]:
    """An organization for all whose every request is refused, and so leaves nothing to whoever comes next."""
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        refused = await sign_up(api)
        await subscribe(api, refused, "pro")
        yield refused


@pytest.fixture(scope="module")
async def operator(house: House) -> str:
    """The session of an operator."""
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30) as api:
        log_in = await api.post("/v1/auth/login", json=house.facts["super_admin"])
    return str(log_in.json()["access_token"])


@pytest.mark.parametrize("kind", BAD_CONTACTS)
async def test_a_body_that_is_wrong_is_told_by_its_field_and_makes_nothing(
    api: httpx.AsyncClient, refused: Tenant, kind: str
) -> None:
    body, field = BAD_CONTACTS[kind]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await api.post("/v1/contacts", headers=authorization(refused.secret), content=content)
    assert [error["field"] for error in problem(answer, 422, "invalid-request")["errors"]] == [field]
    assert (await refused.key.get("/v1/contacts"))["contacts"] == []


@pytest.mark.parametrize("name", WITH_BODY)
async def test_no_field_of_any_body_brings_a_service_down(
    api: httpx.AsyncClient, tenant: Tenant, name: str
) -> None:
    wanted = operation(name)
    path = wanted.endpoint.template.text
    for variable in wanted.endpoint.template.variables:
        path = path.replace(f"{{{variable}}}", str(new_id()))
    good = BODIES[name](dict.fromkeys(("list_id", "tag_id", "contact_id"), str(new_id())))
    # Logging out would end what follows.
    credential = tenant.secret if wanted.endpoint.access.scope else tenant.access_token
    fields = {field.name for field in wanted.endpoint.rpc.input_type.fields}
    for field in fields - set(wanted.endpoint.template.variables):
        for value in NASTY:
            answer = await api.request(
                wanted.endpoint.verb, path, headers=authorization(credential), json=good | {field: value}
            )
            assert answer.status_code < 500, (field, value, answer.text)
            if answer.status_code == 422:
                problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("name", WITH_QUERY)
async def test_a_query_that_is_wrong_is_told_by_its_parameter(
    api: httpx.AsyncClient, refused: Tenant, operator: str, name: str
) -> None:
    wanted = operation(name)
    path = wanted.endpoint.template.text.replace("{organization_id}", refused.organization_id)
    for variable in wanted.endpoint.template.variables:
        path = path.replace(f"{{{variable}}}", str(new_id()))
    credential = operator if path.startswith("/v1/admin/") else refused.access_token
    bad = {"page_size": ("-1", "501", "x", ""), "page_token": ("x", "\x00", "AAAA"), "email": ("\x00", "x")}
    bad |= dict.fromkeys(
        (
            *(
                "status",
                "reason",
                "act",
                "process",
                "feature",
                "limit",
                "actor_id",
                "sort",
                "list_id",
                "tag_id",
                "connected_by",
            ),
            *("from", "to", "interval", "metrics", "campaign_id", "contact_id"),
        ),
        ("nonsense",),
    )
    bad["event_type"] = ("\x00",)
    bad |= dict.fromkeys(("since", "until"), ("nonsense",))
    bad["step_id"] = ("\x00", "x" * 51)
    bad["search"] = ("\x00", "x" * 321)
    assert wanted.endpoint.query_fields <= bad.keys()
    fields = wanted.endpoint.rpc.input_type.fields_by_name
    needed = {each: text for each, text in QUERIES.get(name, {}).items() if rule_of(fields[each]).required}
    for field in (*wanted.endpoint.query_fields, "unknown"):
        for value in bad.get(field, ("x",)):
            query = needed | {field: value}
            answer = await api.get(path, params=query, headers=authorization(credential))
            assert [error["field"] for error in problem(answer, 422, "invalid-request")["errors"]] == [field]


@pytest.mark.parametrize("text", ["x", "%00", "%ff", "..%2f..", "0" * 36, "x" * 1_000])
async def test_an_id_that_is_none_is_refused(api: httpx.AsyncClient, refused: Tenant, text: str) -> None:
    answer = await api.get(f"/v1/contacts/{text}", headers=authorization(refused.secret))
    kind = {404: "not-found", 422: "invalid-request"}[answer.status_code]
    problem(answer, answer.status_code, kind)


async def test_what_is_nowhere_is_404_and_what_takes_no_such_method_405(api: httpx.AsyncClient) -> None:
    problem(await api.get("/v1/nowhere"), 404, "not-found")
    refused = await api.delete("/v1/contacts")
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, HEAD, POST, PUT"


async def test_a_second_contact_with_the_same_address_is_a_conflict(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.key.post("/v1/contacts", ADA)
    for email in ("ada@example.test", "ADA@example.test", "Ada@EXAMPLE.test"):
        again = await api.post("/v1/contacts", headers=authorization(tenant.secret), json={"email": email})
        problem(again, 409, "conflict")
    assert len((await tenant.key.get("/v1/contacts"))["contacts"]) == 1


async def test_an_account_that_exists_cannot_be_signed_up_again(
    api: httpx.AsyncClient, tenant: Tenant
) -> None:
    body = {"email": tenant.email, "password": tenant.password, "name": "Eve", "organization_name": "Eve"}
    problem(await api.post("/v1/auth/signup", json=body), 409, "conflict")
    short = body | {"email": "eve@example.test", "password": "short"}
    refused = problem(await api.post("/v1/auth/signup", json=short), 422, "invalid-request")
    assert [error["field"] for error in refused["errors"]] == ["password"]


async def test_bad_rows_of_a_file_are_told_by_their_line_and_good_ones_imported(tenant: Tenant) -> None:
    lines = [
        b"email,first_name",
        b"good1@example.test,Ann",
        b"no-address,Bob",
        b"latin1@example.test,Ren\xe9",
        b"good2@example.test,\xc3\x81gnes",
        b"nul@example.test,a\x00b",
        b",Nobody",
        b"long@example.test," + b"x" * 201,
        b"good3@example.test,Cy",
        b'quote@example.test,"never closed',
    ]
    found = await import_contacts(tenant.key, b"\n".join(lines))
    assert (found["status"], found["created_contacts"], found["failed_rows"]) == ("completed", 3, 6)
    assert [error["line"] for error in found["errors"]] == [3, 4, 6, 7, 8, 10]
    assert all(error["message"] for error in found["errors"])
    contacts = (await tenant.key.get("/v1/contacts"))["contacts"]
    assert {contact["email"] for contact in contacts} == {
        f"good{number}@example.test" for number in (1, 2, 3)
    }


@pytest.mark.parametrize("content", [b"", b"\n\n", b"name\nAda\n", "email\na@b.test\n".encode("utf-16")])
async def test_a_file_that_is_no_list_of_contacts_fails_as_a_whole_and_says_why(
    tenant: Tenant, content: bytes
) -> None:
    found = await import_contacts(tenant.key, content)
    assert found["status"] == "failed"
    assert found["failure"]
    assert (await tenant.key.get("/v1/contacts"))["contacts"] == []


async def test_a_file_that_is_too_large_leaves_nothing(api: httpx.AsyncClient, tenant: Tenant) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nemail\n'
        for _ in range(OVER_THE_LIMIT // 65_536):
            yield b"x" * 65_535 + b"\n"
        yield b"\r\n--b--\r\n"

    headers = authorization(tenant.secret) | {"content-type": "multipart/form-data; boundary=b"}
    answer = await api.post("/v1/contacts/imports", headers=headers, content=body())
    problem(answer, 413, "payload-too-large")
    assert (await tenant.key.get("/v1/contacts/imports"))["imports"] == []


async def test_a_gibibyte_is_refused_before_it_is_sent(house: House, tenant: Tenant) -> None:
    address = urlsplit(house.gateway_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /v1/contacts/imports HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nAuthorization: Bearer %b\r\n\r\n"
        % tenant.secret.encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in head
    assert (await tenant.key.get("/v1/contacts/imports"))["imports"] == []
