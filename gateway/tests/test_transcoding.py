"""Transcoding: nothing is lost on the way there and back, and nothing but a 422 comes of what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.contract.json_decoding import decoder
from chassis.contract.json_encoding import encoder
from chassis.contract.timestamps import format_timestamp, parse_timestamp
from chassis.errors import FieldViolation, InvalidRequest
from chassis.rpc.options import MAX_MESSAGE_BYTES
from flownurture.contacts.v1 import contacts_pb2, imports_pb2
from flownurture.identity.v1 import api_keys_pb2, audit_pb2, auth_pb2
from flownurture.options.v1 import access_pb2
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from gateway.endpoints import Endpoint, public_endpoints
from gateway.tests.messages import JSON, messages
from gateway.transcoding.request import RequestReader

ENDPOINTS = {endpoint.rpc.name: endpoint for endpoint in public_endpoints()}
UNARY = [endpoint for endpoint in ENDPOINTS.values() if not endpoint.is_upload]
JSON_REQUESTS = [endpoint for endpoint in UNARY if not endpoint.body_is_raw]
READERS = {endpoint.rpc.name: RequestReader(endpoint) for endpoint in UNARY}


def _without_nulls(value: Any) -> Any:
    """In an answer null says that something is not set; a request leaves it out."""
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(element) for element in value] if isinstance(value, list) else value


def _name(endpoint: Endpoint) -> str:
    return str(endpoint.rpc.name)


def _read(rpc: str, body: Any, variables: dict[str, str] | None = None, query: str = "") -> Any:
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    return READERS[rpc].read(variables or {}, query, text, {"content-type": "application/json"}.get)


def _errors(rpc: str, body: Any, variables: dict[str, str] | None = None, query: str = "") -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        _read(rpc, body, variables, query)
    return {violation.field: violation.message for violation in refused.value.violations}


# Of each of some two hundred types.
@settings(max_examples=12)
@pytest.mark.parametrize("endpoint", JSON_REQUESTS, ids=_name)
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same_message(endpoint: Endpoint, data: st.DataObject) -> None:
    message = data.draw(messages(endpoint.rpc.input_type))
    text = orjson.dumps(encoder(message.DESCRIPTOR)(message))
    found: list[FieldViolation] = []
    decoded = type(message)()
    decoder(message.DESCRIPTOR)(decoded, _without_nulls(orjson.loads(text)), "", found)
    assert found == []
    assert decoded == message


@settings(max_examples=12)
@pytest.mark.parametrize("endpoint", JSON_REQUESTS, ids=_name)
@given(body=JSON | st.binary(max_size=30), query=st.text(st.characters(codec="ascii"), max_size=20))
def test_any_input_is_read_or_refused_field_by_field(endpoint: Endpoint, body: Any, query: str) -> None:
    try:
        text = body if isinstance(body, bytes) else orjson.dumps(body)
    except (TypeError, orjson.JSONEncodeError):
        text = repr(body).encode()
    variables = dict.fromkeys(endpoint.template.variables, "x")
    try:
        READERS[endpoint.rpc.name].read(variables, query, text, {"content-type": ""}.get)
        told = True
    except InvalidRequest as refused:
        told = bool(refused.violations)
    assert told


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_a_time_is_written_in_utc_and_read_back_to_the_nanosecond(seconds: int, nanos: int) -> None:
    time = Timestamp(seconds=seconds, nanos=nanos)
    text = format_timestamp(time)
    assert parse_timestamp(text) == time
    assert text.endswith("Z")


@given(st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1)), st.integers(-1439, 1439))
def test_a_time_with_an_offset_is_the_same_moment(local: datetime, minutes: int) -> None:
    sign, distance = "+-"[minutes < 0], abs(minutes)
    text = f"{local.replace(microsecond=0).isoformat()}{sign}{distance // 60:02}:{distance % 60:02}"
    moment = local.replace(microsecond=0, tzinfo=UTC) - timedelta(minutes=minutes)
    assert parse_timestamp(text).seconds == int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01 00:00:00Z",
        "２026-01-01T00:00:00Z",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    assert _errors("CreateApiKey", {"name": "a", "scopes": ["contacts:read"], "expires_at": text}) == {
        "expires_at": "must be an RFC 3339 time such as 2026-01-31T12:00:00Z"
    }


def test_json_that_is_none_is_refused_with_the_place() -> None:
    assert _errors("CreateContact", b'{"email": }') == {
        "body": "is not JSON: unexpected character, expected a JSON value at line 1, column 11"
    }
    assert "is not JSON" in _errors("CreateContact", b"\xff\xfe")["body"]
    assert "is not JSON" in _errors("CreateContact", b"[" * 100_000)["body"]
    assert "is not JSON" in _errors("CreateContact", b'{"email": "\\ud800"}')["body"]


@pytest.mark.parametrize("body", [[], "text", 1, None, True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert _errors("CreateContact", body)["body"] == "must be an object"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    body = {
        "email": 7,
        "first_name": "x" * 201,
        "last_name": None,
        "list_ids": ["x", 1],
        "nickname": "Ada",
        "n" * 100: 1,
    }
    assert _errors("CreateContact", body) == {
        "email": "must be a string",
        "first_name": "must be at most 200 characters",
        "last_name": "must be a string",
        "list_ids[1]": "must be a string",
        "list_ids[0]": "must be a UUID in its canonical form",
        "nickname": "is not a known field",
        repr("n" * 60): "is not a known field",
    }


def test_an_empty_body_lacks_what_is_required() -> None:
    assert _errors("CreateContact", b"") == {"email": "must be given"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("5", "must be a whole number"),
        (True, "must be a whole number"),
        (1.5, "must be a whole number"),
        (None, "must be a whole number"),
        (2**32, "must be between 0 and 4,294,967,295"),
        (-1, "must be between 0 and 4,294,967,295"),
        (10**30, "must be a whole number"),
        ([1], "must be a whole number"),
    ],
)
def test_a_number_must_be_one_and_fit(value: Any, problem: str) -> None:
    found: list[FieldViolation] = []
    message = contacts_pb2.ListContactsRequest()
    as_parsed = orjson.loads(orjson.dumps(value)) if value != 10**30 else orjson.loads(b"1" + b"0" * 30)
    decoder(message.DESCRIPTOR)(message, {"page_size": as_parsed}, "", found)
    assert found == [FieldViolation("page_size", problem)]


@pytest.mark.parametrize("value", ["spam", "MANUAL", 4, None, "unspecified", ""])
def test_an_enum_names_what_it_may_be(value: Any) -> None:
    assert _errors("CreateSuppression", {"email": "ada@example.com", "reason": value}) == {
        "reason": "must be one of: unsubscribe, hard_bounce, complaint, manual, erased, cancelled, frequency_cap"
    }


def test_a_nested_field_is_named_by_its_path() -> None:
    found: list[FieldViolation] = []
    message = campaigns_pb2.CreateCampaignRequest()
    decoder(message.DESCRIPTOR)(message, {"audience": {"list_ids": [1], "x": 1}}, "", found)
    assert [each.field for each in found] == ["audience.list_ids[0]", "audience.x"]


def test_bytes_are_base64_and_alternatives_exclude_each_other() -> None:
    message = imports_pb2.CreateImportRequest()
    found: list[FieldViolation] = []
    decoder(message.DESCRIPTOR)(message, {"chunk": "not base64!"}, "", found)
    decoder(message.DESCRIPTOR)(message, {"chunk": "AA==", "options": {}}, "", found)
    assert found == [
        FieldViolation("chunk", "must be base64 text"),
        FieldViolation("options", "may not be given together with chunk"),
    ]


def test_a_field_of_the_path_is_no_field_of_the_body() -> None:
    list_id = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
    assert _errors("UpdateList", {"list_id": list_id}, {"list_id": list_id}) == {
        "list_id": "is not a known field"
    }
    assert _read("UpdateList", {"name": "A"}, {"list_id": list_id}).list_id == list_id


def test_presence_tells_absent_from_empty() -> None:
    variables = {"contact_id": "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"}
    emptied = _read("UpdateContact", {"first_name": ""}, variables)
    assert emptied.HasField("first_name")
    assert not emptied.HasField("last_name")


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        ("page_size=x", "page_size", "must be a whole number"),
        ("page_size=", "page_size", "must be a whole number"),
        ("page_size=-1", "page_size", "must be between 0 and 4,294,967,295"),
        ("page_size=501", "page_size", "must be at most 500"),
        ("page_size=1&page_size=2", "page_size", "may be given only once"),
        ("status=nobody", "status", "must be one of: subscribed, unsubscribed, bounced, complained"),
        ("email=nobody", "email", "must be an e-mail address"),
        ("order=asc", "order", "is not a known parameter"),
        ("organization_id=1", "organization_id", "is not a known parameter"),
        ("email=%ff", "query", "must be URL-encoded UTF-8 of at most 100 parameters"),
        ("&".join("a=1" for _ in range(101)), "query", "must be URL-encoded UTF-8 of at most 100 parameters"),
    ],
)
def test_a_wrong_query_is_refused_by_name(query: str, field: str, problem: str) -> None:
    assert _errors("ListContacts", b"", query=query) == {field: problem}


def test_a_get_takes_no_body() -> None:
    assert _errors("ListContacts", {}) == {"body": "must be empty"}


def test_a_field_of_the_path_is_no_parameter_of_the_query() -> None:
    list_id = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
    assert _errors("GetList", b"", {"list_id": list_id}, query=f"list_id={list_id}") == {
        "list_id": "is not a known parameter"
    }


def test_an_enum_reads_as_its_name_and_unset_as_null() -> None:
    encode = encoder(messages_pb2.Message.DESCRIPTOR)
    message = messages_pb2.Message(
        status=messages_pb2.MESSAGE_STATUS_VETOED, veto_reason=messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE
    )
    encoded = encode(message)
    assert (encoded["status"], encoded["veto_reason"]) == ("vetoed", "hard_bounce")
    assert encode(messages_pb2.Message())["veto_reason"] is None
    me = encoder(auth_pb2.GetMeResponse.DESCRIPTOR)(auth_pb2.GetMeResponse(role=access_pb2.ROLE_ORG_ADMIN))
    assert me == {"user": None, "organization": None, "role": "ORG_ADMIN"}


def test_a_large_number_is_a_number() -> None:
    encoded = encoder(imports_pb2.Import.DESCRIPTOR)(imports_pb2.Import(size_bytes=2**64 - 1))
    assert orjson.loads(orjson.dumps(encoded))["size_bytes"] == 2**64 - 1


@pytest.mark.parametrize("descriptor", [api_keys_pb2.CreateApiKeyResponse.DESCRIPTOR])
def test_every_member_is_there_even_when_empty(descriptor: Descriptor) -> None:
    message = api_keys_pb2.CreateApiKeyResponse(api_key=api_keys_pb2.ApiKey())
    assert encoder(descriptor)(message) == {
        "api_key": {
            "id": "",
            "name": "",
            "prefix": "",
            "scopes": [],
            "created_at": None,
            "expires_at": None,
            "last_used_at": None,
        },
        "secret": "",
    }


def test_a_struct_is_the_json_that_it_stands_for() -> None:
    before: dict[str, Any] = {
        "name": "Grüße",
        "scopes": ["contacts:read"],
        "none": [],
        "suspended": True,
        "next_plan": None,
    }
    event = audit_pb2.AuditEvent()
    event.before.update(before)
    event.after.SetInParent()
    encoded = encoder(event.DESCRIPTOR)(event)
    assert (encoded["before"], encoded["after"]) == (before, {})
    assert encoder(event.DESCRIPTOR)(audit_pb2.AuditEvent())["before"] is None


def test_no_body_is_read_that_is_larger_than_any_call() -> None:
    # Each byte of a text may be written as \uXXXX.
    assert max(READERS[endpoint.rpc.name].largest_body for endpoint in JSON_REQUESTS) <= 6 * MAX_MESSAGE_BYTES
