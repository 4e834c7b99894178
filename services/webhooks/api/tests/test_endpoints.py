"""Endpoints as their organization makes and changes them; what is secret of them is told once, and stored sealed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.context import Role
from chassis.errors import InvalidRequest, NotFound, PermissionDenied
from chassis.vault.keyring import Keyring
from chassis.vault.vault import Vault
from flownurture.webhooks.v1 import endpoints_pb2 as pb
from flownurture.webhooks.v1.event_types_pb2 import ListWebhookEventTypesRequest
from services.webhooks.api.tests.tenant import URL, Tenant
from services.webhooks.endpoint_secrets import opened_headers, opened_secrets
from services.webhooks.event_types import EVENT_TYPES


def headers(**values: Any) -> Struct:
    return ParseDict({name.replace("_", "-"): value for name, value in values.items()}, Struct())


async def update(tenant: Tenant, endpoint_id: str, **changes: Any) -> pb.WebhookEndpoint:
    answer: pb.WebhookEndpoint = await tenant(
        pb.UpdateWebhookEndpointRequest(endpoint_id=endpoint_id, **changes)
    )
    return answer


async def get(tenant: Tenant, endpoint_id: str) -> pb.WebhookEndpoint:
    answer: pb.WebhookEndpoint = await tenant(pb.GetWebhookEndpointRequest(endpoint_id=endpoint_id))
    return answer


async def keyring_of(tenant: Tenant, vault: Vault) -> Keyring:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await vault.keyring(session)


async def test_an_endpoint_is_as_it_was_asked_for(tenant: Tenant) -> None:
    made = await tenant.add(
        URL,
        "contact.*",
        "email.sent",
        "email.sent",
        description="CRM",
        rate_limit=5,
        message_signatures=True,
        headers=headers(X_Key="k", Authorization="Bearer t"),
    )
    found = await get(tenant, made.id)
    assert (found.url, found.description, found.enabled) == (URL, "CRM", True)
    assert list(found.event_types) == ["contact.*", "email.sent"]
    assert (found.rate_limit, found.api_version, found.message_signatures) == (5, "2026-11-28", True)
    assert sorted(found.header_names) == ["Authorization", "X-Key"]


async def test_a_secret_is_told_at_creation_and_rotation_alone(tenant: Tenant) -> None:
    made = await tenant.add()
    rotated = await tenant(pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id))
    assert made.secret.startswith("whsec_")
    assert rotated.secret.startswith("whsec_")
    assert rotated.secret != made.secret
    listed = await tenant(pb.ListWebhookEndpointsRequest())
    others = [*listed.webhook_endpoints, await get(tenant, made.id), await update(tenant, made.id)]
    assert [other.secret for other in others] == [""] * 3


async def test_what_is_secret_is_stored_sealed(tenant: Tenant, vault: Vault) -> None:
    made = await tenant.add(headers=headers(X_Key="s3cret-value"))
    row = await tenant.row(made.id)
    assert all(made.secret.encode() not in bytes(str(value), "utf-8") for value in row)
    assert b"s3cret-value" not in row.headers_sealed
    keyring = await keyring_of(tenant, vault)
    assert [secret.reveal() for secret in opened_secrets(row, keyring)] == [made.secret]
    assert [(name, value.reveal()) for name, value in opened_headers(row, keyring)] == [
        ("X-Key", "s3cret-value")
    ]


async def test_a_rotation_keeps_the_secret_before_for_a_day_and_no_other(
    tenant: Tenant, vault: Vault
) -> None:
    made = await tenant.add()
    first = await tenant(pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id))
    second = await tenant(pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id))
    row = await tenant.row(made.id)
    keyring = await keyring_of(tenant, vault)
    assert [secret.reveal() for secret in opened_secrets(row, keyring)] == [second.secret, first.secret]
    left = second.previous_secret_until.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24, minutes=1)


async def test_only_what_is_given_is_changed(tenant: Tenant) -> None:
    made = await tenant.add(description="CRM", rate_limit=5, headers=headers(X_Key="k"))
    changed = await update(tenant, made.id, url="https://other.example.com/")
    assert changed.url == "https://other.example.com/"
    assert (changed.description, changed.rate_limit) == ("CRM", 5)
    assert list(changed.header_names) == ["X-Key"]
    cleared = await update(tenant, made.id, rate_limit=0, headers=Struct(), description="")
    assert (cleared.rate_limit, list(cleared.header_names), cleared.description) == (0, [], "")
    assert (await tenant.row(made.id)).headers_sealed is None


async def test_enabling_an_endpoint_forgets_what_was_wrong_with_it(tenant: Tenant) -> None:
    made = await tenant.add()
    await tenant.execute(
        "UPDATE endpoints SET enabled = false, disabled_reason = 'failing', failing_since = now(),"
        " paused_until = now() + interval '1 hour'"
    )
    found = await get(tenant, made.id)
    assert (found.enabled, found.disabled_reason) == (False, pb.WEBHOOK_DISABLED_REASON_FAILING)
    enabled = await update(tenant, made.id, enabled=True)
    assert (enabled.enabled, enabled.disabled_reason) == (True, pb.WEBHOOK_DISABLED_REASON_UNSPECIFIED)
    assert not enabled.HasField("failing_since")
    assert not enabled.HasField("paused_until")
    assert [str(each) for each in tenant.woken] == [made.id]


async def test_an_endpoint_that_its_organization_disables_is_disabled_by_nobody_else(tenant: Tenant) -> None:
    made = await tenant.add()
    await tenant.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'gone'")
    described = await update(tenant, made.id, description="CRM")
    assert described.disabled_reason == pb.WEBHOOK_DISABLED_REASON_GONE
    disabled = await update(tenant, made.id, enabled=False)
    assert (disabled.enabled, disabled.disabled_reason) == (False, pb.WEBHOOK_DISABLED_REASON_UNSPECIFIED)


async def test_a_time_that_is_over_is_not_told(tenant: Tenant) -> None:
    made = await tenant.add()
    await tenant(pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id))
    await tenant.execute(
        "UPDATE endpoints SET previous_secret_until = now() + interval '1 minute',"
        " paused_until = now() + interval '1 minute'"
    )
    found = await get(tenant, made.id)
    assert (found.HasField("previous_secret_until"), found.HasField("paused_until")) == (True, True)
    await tenant.execute("UPDATE endpoints SET previous_secret_until = now(), paused_until = now()")
    for found in (await get(tenant, made.id), await update(tenant, made.id, description="CRM")):
        assert (found.HasField("previous_secret_until"), found.HasField("paused_until")) == (False, False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://user:password@example.com/",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f.1/",
        "https://example.com:22/",
        "https://example.com/#fragment",
        "nonsense",
    ],
)
async def test_a_url_that_may_not_be_posted_to_is_refused_by_field(tenant: Tenant, url: str) -> None:
    made = await tenant.add()
    for asked in (tenant.add(url), update(tenant, made.id, url=url)):
        with pytest.raises(InvalidRequest) as refusal:
            await asked
        assert [violation.field for violation in refusal.value.violations] == ["url"]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-type",
        "Transfer-Encoding",
        "Accept-Encoding",
        "Connection",
        "User-Agent",
        "webhook-id",
        "X-FlowNurture-Signature",
        "Signature",
        "a b",
        "",
    ],
)
async def test_a_header_that_is_ours_or_none_is_refused_by_name(tenant: Tenant, name: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await tenant.add(headers=ParseDict({name: "x"}, Struct()))
    assert [violation.field for violation in refusal.value.violations] == [f"headers.{name}"]


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "", "ü", "x" * 1_025, 5, None, " x"])
async def test_a_value_that_no_header_can_have_is_refused(tenant: Tenant, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await tenant.add(headers=ParseDict({"X-Key": value}, Struct()))
    assert [violation.field for violation in refusal.value.violations] == ["headers.X-Key"]


async def test_more_than_ten_headers_or_one_twice_are_refused(tenant: Tenant) -> None:
    await tenant.add(headers=ParseDict({f"X-{n}": "x" for n in range(10)}, Struct()))
    for wrong in ({f"X-{n}": "x" for n in range(11)}, {"X-Key": "a", "x-key": "b"}):
        with pytest.raises(InvalidRequest):
            await tenant.add(headers=ParseDict(wrong, Struct()))


async def test_an_unknown_version_is_refused_by_field(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await tenant.add(api_version="1999-01-01")
    assert [violation.field for violation in refusal.value.violations] == ["api_version"]


async def test_a_pattern_of_no_type_is_refused_by_its_place(tenant: Tenant) -> None:
    made = await tenant.add()
    wrong = ["contact.created", "contact.*.x", "nothing.*", "*"]
    for asked in (tenant.add(URL, *wrong), update(tenant, made.id, event_types=wrong)):
        with pytest.raises(InvalidRequest) as refusal:
            await asked
        found = [violation.field for violation in refusal.value.violations]
        assert found == ["event_types[1]", "event_types[2]"]


async def test_every_type_is_told_with_an_example(tenant: Tenant) -> None:
    told = await tenant(ListWebhookEventTypesRequest())
    assert [kind.name for kind in told.event_types] == list(EVENT_TYPES)
    for kind in told.event_types:
        assert kind.description
        assert MessageToDict(kind.example)
        await tenant.add(URL, kind.name, f"{kind.group}.*")


async def test_endpoints_are_listed_newest_first_in_pages(tenant: Tenant) -> None:
    made = [(await tenant.add()).id for _ in range(5)]
    seen: list[str] = []
    token, more = "", True
    while more:
        page = await tenant(pb.ListWebhookEndpointsRequest(page_size=2, page_token=token))
        seen += [endpoint.id for endpoint in page.webhook_endpoints]
        token, more = page.next_page_token, bool(page.next_page_token)
    assert seen == made[::-1]


async def test_an_endpoint_is_nothing_to_another_organization(tenant: Tenant, stranger: Tenant) -> None:
    made = await tenant.add()
    for request in (
        pb.GetWebhookEndpointRequest(endpoint_id=made.id),
        pb.UpdateWebhookEndpointRequest(endpoint_id=made.id, description="mine"),
        pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id),
        pb.DeleteWebhookEndpointRequest(endpoint_id=made.id),
    ):
        with pytest.raises(NotFound):
            await stranger(request)
    assert (await get(tenant, made.id)).description == ""


async def test_a_member_reads_endpoints_and_makes_none(tenant: Tenant) -> None:
    made = await tenant.add()
    tenant.context = replace(tenant.context, role=Role.MEMBER)
    assert (await get(tenant, made.id)).id == made.id
    for request in (
        pb.CreateWebhookEndpointRequest(url=URL, event_types=["*"]),
        pb.UpdateWebhookEndpointRequest(endpoint_id=made.id, url=URL),
        pb.RotateWebhookEndpointSecretRequest(endpoint_id=made.id),
        pb.DeleteWebhookEndpointRequest(endpoint_id=made.id),
    ):
        with pytest.raises(PermissionDenied):
            await tenant(request)
