"""Every request field is bounded as the contract says, and nothing a client sends gets past or breaks the check."""

import math
import unicodedata
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from chassis.contract.bounds import MOST_VIOLATIONS, rule_of, violations
from chassis.contract.rules import Format
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation
from flownurture.contacts.v1 import audience_pb2, contacts_pb2, imports_pb2, lists_pb2
from flownurture.identity.v1 import admission_pb2, api_keys_pb2
from flownurture.options.v1 import field_pb2
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import suppressions_pb2, unsubscribe_pb2

Types = descriptor_pb2.FieldDescriptorProto
ID = "01900000-0000-7000-8000-000000000000"


def probe_type() -> type[Message]:
    """A message with the kinds of fields that the contract does not use yet."""
    file = descriptor_pb2.FileDescriptorProto(
        name="bounds_probe.proto", package="bounds_probe", syntax="proto3"
    )
    file.dependency[:] = ["google/protobuf/struct.proto", "google/protobuf/timestamp.proto"]
    probe = file.message_type.add(name="Probe")
    entry = probe.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Types.TYPE_STRING, label=Types.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=Types.TYPE_STRING, label=Types.LABEL_OPTIONAL)

    def add(
        name: str, kind: Any, *, type_name: str | None = None, label: Any = Types.LABEL_OPTIONAL, **rule: Any
    ) -> None:
        field = probe.field.add(
            name=name, number=len(probe.field) + 1, type=kind, type_name=type_name, label=label
        )
        field.options.Extensions[field_pb2.field].CopyFrom(field_pb2.Field(**rule))

    add(
        "labels",
        Types.TYPE_MESSAGE,
        type_name=".bounds_probe.Probe.LabelsEntry",
        label=Types.LABEL_REPEATED,
        max_items=3,
        max_length=10,
    )
    add("ratio", Types.TYPE_DOUBLE, min=-1, max=1)
    add("count", Types.TYPE_INT64, min=-5, max=5)
    add("rule", Types.TYPE_MESSAGE, type_name=".google.protobuf.Struct", max_bytes=100)
    add("at", Types.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", required=True)
    add("self", Types.TYPE_MESSAGE, type_name=".bounds_probe.Probe")
    add("url", Types.TYPE_STRING, format=field_pb2.FORMAT_URL)
    add("flag", Types.TYPE_BOOL)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("bounds_probe.Probe"))


Probe = probe_type()


def probe(**fields: Any) -> Message:
    return Probe(**{"at": timestamp_pb2.Timestamp(seconds=1), **fields})


def wrong(message: Message) -> dict[str, str]:
    return {violation.field: violation.message for violation in violations(message)}


def test_a_good_request_has_no_violations() -> None:
    request = contacts_pb2.CreateContactRequest(
        email="ada@example.com", first_name="Ada ✓\n", last_name="x" * 200, list_ids=[ID, ID]
    )
    assert violations(request) == []


def test_every_wrong_field_is_named_with_what_it_must_be() -> None:
    request = contacts_pb2.CreateContactRequest(email="ada@", first_name="x" * 201, list_ids=[ID, "no id"])
    assert violations(request) == [
        FieldViolation("email", "must be an e-mail address"),
        FieldViolation("first_name", "must be at most 200 characters"),
        FieldViolation("list_ids[1]", "must be a UUID in its canonical form"),
    ]


def test_fields_within_fields_are_named_by_their_path() -> None:
    request = campaigns_pb2.CreateCampaignRequest(
        name="n",
        subject="s",
        from_email="a@example.com",
        audience=campaigns_pb2.CampaignAudience(list_ids=[ID] * 3 + ["x"]),
    )
    assert wrong(request) == {"audience.list_ids[3]": "must be a UUID in its canonical form"}


def test_what_is_required_must_be_given_and_not_empty() -> None:
    assert wrong(campaigns_pb2.TestCampaignRequest(campaign_id=ID)) == {
        "to": "must have at least one element"
    }
    given = campaigns_pb2.CreateCampaignRequest(audience=campaigns_pb2.CampaignAudience())
    assert wrong(given) == {
        "name": "must be given",
        "subject": "must be given",
        "from_email": "must be given",
    }
    assert wrong(campaigns_pb2.CreateCampaignRequest())["audience"] == "must be given"
    assert wrong(suppressions_pb2.CreateSuppressionRequest(email="a@example.com")) == {
        "reason": "must be given"
    }


def test_what_is_optional_may_be_absent_but_not_wrong_when_it_is_there() -> None:
    assert wrong(lists_pb2.UpdateListRequest(list_id=ID)) == {}
    assert wrong(lists_pb2.UpdateListRequest(list_id=ID, name="")) == {"name": "must not be empty"}
    assert wrong(contacts_pb2.UpdateContactRequest(contact_id=ID, email="")) == {
        "email": "must be an e-mail address"
    }


def test_a_number_is_there_even_when_it_is_zero() -> None:
    request = audience_pb2.StreamRecipientsRequest(include=audience_pb2.Selection(list_ids=[ID]))
    assert wrong(request) == {"batch_size": "must be at least 1"}


@given(st.integers(0, 2**32 - 1))
def test_a_number_is_refused_exactly_outside_its_range(size: int) -> None:
    assert bool(violations(contacts_pb2.ListContactsRequest(page_size=size))) == (size > 500)


@given(st.integers(-(2**63), 2**63 - 1), st.floats())
def test_ranges_have_two_ends_and_numbers_are_finite(count: int, ratio: float) -> None:
    found = wrong(probe(count=count, ratio=ratio))
    assert ("count" in found) == (not -5 <= count <= 5)
    assert ("ratio" in found) == (not (math.isfinite(ratio) and -1 <= ratio <= 1))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_text_is_refused_exactly_when_it_is_too_long_or_holds_control_characters(name: str) -> None:
    controls = any(unicodedata.category(char) == "Cc" and char not in "\t\r\n" for char in name)
    found = wrong(contacts_pb2.CreateContactRequest(email="a@example.com", first_name=name))
    assert bool(found) == (len(name) > 200 or controls)


def test_a_nul_is_refused_wherever_it_stands() -> None:
    assert "first_name" in wrong(contacts_pb2.CreateContactRequest(email="a@example.com", first_name="a\0b"))
    assert "list_ids[0]" in wrong(contacts_pb2.CreateContactRequest(email="a@example.com", list_ids=["\0"]))
    assert "labels['a\\x00']" in wrong(probe(labels={"a\0": "b"}))
    assert "labels['a']" in wrong(probe(labels={"a": "b\0"}))
    rule = struct_pb2.Struct()
    rule.update({"and": [{"field": "na\0me"}]})
    assert list(wrong(probe(rule=rule)).values()) == ["must not contain control characters"]


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\u2028"])
def test_what_goes_into_a_header_is_a_single_line(line_break: str) -> None:
    subject = f"Hello{line_break}Bcc: everybody@example.com"
    request = messages_pb2.CreateMessageRequest(
        to="a@example.com", from_email="b@example.com", subject=subject
    )
    assert wrong(request) == {"subject": "must be a single line"}
    assert wrong(contacts_pb2.CreateContactRequest(email="a@example.com", first_name=subject[:20])) == {}


def test_enums_take_the_values_of_the_contract_only() -> None:
    assert wrong(contacts_pb2.ListContactsRequest(status=contacts_pb2.CONTACT_STATUS_BOUNCED)) == {}
    unknown = contacts_pb2.ListContactsRequest.FromString(bytes([4 << 3, 99]))
    assert wrong(unknown) == {"status": "must be one of the known values"}


@pytest.mark.parametrize("size", [31, 32, 33])
def test_bytes_are_bounded_on_both_sides(size: int) -> None:
    request = admission_pb2.ResolveCredentialRequest(
        api_key=admission_pb2.ApiKeyCredential(api_key_id=ID, secret_sha256=b"x" * size)
    )
    assert ("api_key.secret_sha256" in wrong(request)) == (size != 32)


def test_the_members_of_a_oneof_are_judged_when_they_are_chosen() -> None:
    assert wrong(admission_pb2.ResolveCredentialRequest(session_id="x")) == {
        "session_id": "must be a UUID in its canonical form"
    }
    assert wrong(imports_pb2.CreateImportRequest(chunk=b"x" * 1_048_577)) == {
        "chunk": "must be at most 1,048,576 bytes"
    }
    assert wrong(imports_pb2.CreateImportRequest(options=imports_pb2.ImportOptions())) == {}


def test_lists_and_maps_have_a_most_number_of_elements() -> None:
    many = contacts_pb2.CreateContactRequest(email="a@example.com", list_ids=[ID] * 101)
    assert wrong(many) == {"list_ids": "must have at most 100 elements"}
    assert wrong(probe(labels={str(n): "" for n in range(4)})) == {"labels": "must have at most 3 entries"}


def test_keys_and_values_of_a_map_are_bounded() -> None:
    assert wrong(probe(labels={"a" * 11: "b"})) == {
        "labels['aaaaaaaaaaa']": "has a key that must be at most 10 characters"
    }
    assert wrong(probe(labels={"a": "b" * 11})) == {"labels['a']": "must be at most 10 characters"}


def test_a_free_structure_is_bounded_by_its_bytes() -> None:
    rule = struct_pb2.Struct()
    rule.update({"a": "b" * 100})
    assert wrong(probe(rule=rule)) == {"rule": "must be at most 100 bytes"}
    body = unsubscribe_pb2.UnsubscribeRequest(token="t", body={"data": b"x" * 5000})
    assert wrong(body) == {"body": "must be at most 4,096 bytes"}


@pytest.mark.parametrize(
    ("seconds", "nanos", "good"),
    [
        (-62_135_596_800, 0, True),
        (253_402_300_799, 999_999_999, True),
        (-62_135_596_801, 0, False),
        (253_402_300_800, 0, False),
        (0, 1_000_000_000, False),
        (0, -1, False),
    ],
)
def test_a_time_lies_between_the_years_1_and_9999(seconds: int, nanos: int, good: bool) -> None:
    at = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    assert wrong(probe(at=at)) == ({} if good else {"at": "must be a time between the years 1 and 9999"})
    if good:
        at.ToDatetime()


def test_a_message_within_its_own_kind_is_judged_too() -> None:
    assert wrong(probe(self=probe(count=9))) == {"self.count": "must be at most 5"}


def test_whoever_gets_everything_wrong_is_told_a_bounded_amount() -> None:
    request = lists_pb2.AddListContactsRequest(list_id=ID, contact_ids=["x" * 100_000] * 1000)
    found = violations(request)
    assert len(found) == MOST_VIOLATIONS
    assert sum(len(violation.field) + len(violation.message) for violation in found) < 4096


@given(st.uuids() | st.from_regex("[0-9a-f-]{36}", fullmatch=True))
def test_an_id_is_its_canonical_form_and_nothing_else(value: UUID | str) -> None:
    try:
        canonical = str(value) == str(UUID(str(value)))
    except ValueError:
        canonical = False
    assert bool(violations(contacts_pb2.GetContactRequest(contact_id=str(value)))) == (not canonical)


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", " %s", "%s\n"])
def test_other_spellings_of_an_id_are_refused(spelling: str) -> None:
    assert wrong(contacts_pb2.GetContactRequest(contact_id=spelling % uuid4())) != {}
    assert wrong(contacts_pb2.GetContactRequest(contact_id=str(uuid4()).upper())) != {}
    assert wrong(contacts_pb2.GetContactRequest(contact_id=uuid4().hex)) != {}


@given(st.emails() | st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_whatever_passes_as_an_address_can_be_parsed_as_one(text: str) -> None:
    if not violations(contacts_pb2.CreateContactRequest(email=text)):
        EmailAddress.parse(text)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.com", True),
        ("http://example.com:8080/path?q=1#f", True),
        ("https://[2001:db8::1]/", True),
        ("https://bücher.example/", True),
        ("ftp://example.com", False),
        ("javascript:alert(1)", False),
        ("//example.com", False),
        ("https://", False),
        ("https:///path", False),
        ("https://exam ple.com", False),
        ("https://example.com\\@evil.example", False),
        ("https://example.com:99999", False),
        ("https://example.com:x", False),
        ("https://[::1", False),
        ("https://example.com/\n", False),
        ("https://example.com/" + "a" * 2048, False),
    ],
)
def test_a_url_is_absolute_and_of_the_web(url: str, good: bool) -> None:
    assert ("url" not in wrong(probe(url=url))) == good


@pytest.mark.parametrize(
    ("scope", "good"),
    [
        ("contacts:read", True),
        ("ai:write", True),
        ("contacts", False),
        ("contacts:delete", False),
        (":read", False),
    ],
)
def test_a_scope_is_a_resource_and_a_verb(scope: str, good: bool) -> None:
    request = api_keys_pb2.CreateApiKeyRequest(name="n", scopes=[scope])
    assert ("scopes[0]" not in wrong(request)) == good


REQUESTS: list[Descriptor] = [
    rpc.input_type
    for module in (contacts_pb2, lists_pb2, imports_pb2, campaigns_pb2, suppressions_pb2, api_keys_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for rpc in service.methods
]


@given(st.sampled_from([*REQUESTS, Probe.DESCRIPTOR]), st.binary(max_size=200))
def test_whatever_bytes_a_client_sends_are_judged_without_an_error(kind: Descriptor, data: bytes) -> None:
    try:
        message = GetMessageClass(kind).FromString(data)
    except DecodeError:
        return
    assert all(violation.message for violation in violations(message))


def test_the_rule_of_a_field_tells_a_documentation_what_it_needs() -> None:
    fields = contacts_pb2.CreateContactRequest.DESCRIPTOR.fields_by_name
    assert rule_of(fields["email"]).required
    assert rule_of(fields["email"]).format is Format.EMAIL
    assert rule_of(fields["list_ids"]).max_items == 100
    assert rule_of(contacts_pb2.ListContactsRequest.DESCRIPTOR.fields_by_name["page_size"]).maximum == 500
