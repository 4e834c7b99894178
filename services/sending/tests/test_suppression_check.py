"""An operator sees whether an address is on an organization's list and why, and the organization sees that they looked."""

import pytest
from google.protobuf.json_format import MessageToDict

from chassis.context import Role
from chassis.email_address import EmailAddress
from chassis.errors import InvalidRequest, NotFound, PermissionDenied
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2 as pb
from flownurture.suppression.v1.events_pb2 import SuppressionActCommitted
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.plan import Plan
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_veto import suppression_of

READER = "reader@example.com"


def question(tenant: Tenant, email: str = READER) -> pb.CheckSuppressionRequest:
    return pb.CheckSuppressionRequest(organization_id=str(tenant.context.organization), email=email)


async def test_why_an_address_gets_no_mail_is_told_with_since_when_and_by_whom(tenant: Tenant) -> None:
    by_hand = await tenant(suppression_of(READER))
    bounce = Suppressed(
        EmailAddress.parse(READER).digest, SuppressionReason.HARD_BOUNCE, READER, rule="bad_mailbox"
    )
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [bounce])
    await tenant(suppression_of("other@example.com"))
    found = await tenant.as_operator(question(tenant, "Reader@EXAMPLE.com"))
    assert found.suppressed
    newest, oldest = found.suppressions
    assert (newest.reason, newest.rule) == (messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE, "bad_mailbox")
    assert oldest == by_hand
    assert oldest.added_by.id == tenant.context.actor_id
    assert oldest.HasField("created_at")


async def test_an_address_that_another_organization_suppressed_is_not_on_the_list(
    tenant: Tenant, stranger: Tenant
) -> None:
    await stranger(suppression_of(READER))
    found = await tenant.as_operator(question(tenant))
    assert (found.suppressed, list(found.suppressions)) == (False, [])


async def test_of_no_organization_nobody_is_told_to_be_on_no_list(tenant: Tenant, plan: Plan) -> None:
    plan.forget(tenant.context.organization)
    with pytest.raises(NotFound):
        await tenant.as_operator(question(tenant))
    assert await tenant.published(SuppressionActCommitted) == []


async def test_what_is_no_address_is_refused_by_its_field(tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tenant.as_operator(question(tenant, "nobody"))
    assert [violation.field for violation in refused.value.violations] == ["email"]


async def test_nobody_but_an_operator_checks_a_list(tenant: Tenant) -> None:
    with pytest.raises(PermissionDenied):
        await tenant(question(tenant))


async def test_that_an_operator_looked_is_told_to_the_trail_without_the_address(tenant: Tenant) -> None:
    entry = await tenant(suppression_of(READER))
    await tenant.as_operator(question(tenant))
    await tenant.as_operator(question(tenant, "nobody@example.com"))
    first, second = [event.act for event in await tenant.published(SuppressionActCommitted)]
    for act in (first, second):
        assert (act.kind, act.target_id) == (
            AuditedAct.KIND_OPERATOR_READ,
            str(tenant.context.organization),
        )
        assert (act.actor.id, act.role) == (tenant.context.actor_id, Role.SUPER_ADMIN.value)
    assert MessageToDict(first.after) == {"what": "suppressions", "suppression_ids": [entry.id]}
    assert MessageToDict(second.after) == {"what": "suppressions", "suppression_ids": []}
    assert "example.com" not in f"{first}{second}"
